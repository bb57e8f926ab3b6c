//! Where the results of functions are seen, and of which functions they are.

use std::collections::{BTreeSet, HashMap, HashSet};

use tracer_common::AllocationCall;

use super::places::{Function, Place};

/// Functions by which a call may leave one; more are not looked at.
const MOST_JUMPS: usize = 16;

/// How a function leaves: its places, and where it jumps to, from its beginning.
#[derive(Clone, Debug)]
pub(super) struct Leaving {
    pub(super) returns: Vec<Place>,
    pub(super) jumps: Vec<u64>,
}

/// The places of functions that hand out blocks, and the functions that return where nobody looks. `beyond`
/// finds how one leaves that is not among them.
pub(super) fn results(
    functions: Vec<(Function, Option<Leaving>)>,
    beyond: impl Fn(AllocationCall, u64) -> Option<Leaving>,
) -> (Vec<Place>, Vec<&'static str>) {
    let (mut known, mut asking) = (HashMap::new(), Vec::new());
    for (function, exits) in functions {
        known.insert(function.symbol.address, exits);
        if function.call.bytes([0; 3]).is_some() {
            asking.push(function);
        }
    }
    let (mut told, mut untold) = (BTreeSet::new(), Vec::new());
    for Function { name, call, symbol } in asking {
        let look = |address| beyond(call, address);
        match ends(symbol.address, &mut known, look) {
            Some(functions) => told.extend(functions),
            None => untold.push(name),
        }
    }
    let exits = told.iter().filter_map(|address| known.get(address)?.as_ref());
    (exits.flat_map(|exits| exits.returns.clone()).collect(), untold)
}

/// The functions in which a call may end that begins in one: it, and those that it jumps to. A call that ends in
/// another function returns there with the same stack pointer. `None`: not all are known.
fn ends(
    begin: u64,
    known: &mut HashMap<u64, Option<Leaving>>,
    look: impl Fn(u64) -> Option<Leaving>,
) -> Option<HashSet<u64>> {
    let (mut seen, mut next) = (HashSet::new(), vec![begin]);
    while let Some(address) = next.pop() {
        if !seen.insert(address) {
            continue;
        }
        if seen.len() > MOST_JUMPS {
            return None;
        }
        let leaving = known.entry(address).or_insert_with(|| look(address)).as_ref()?;
        next.extend(leaving.jumps.iter().map(|to| address.wrapping_add(*to)));
    }
    Some(seen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jump_must_lead_to_what_is_seen() {
        let leaving = |jumps: &[u64]| Some(Leaving { returns: Vec::new(), jumps: jumps.to_vec() });
        let back = 0_u64.wrapping_sub(50);
        let known =
            [(100, leaving(&[back])), (50, leaving(&[])), (200, leaving(&[7])), (300, None)];
        let ends = |begin, look: fn(u64) -> Option<Leaving>| {
            ends(begin, &mut HashMap::from(known.clone()), look)
        };
        assert_eq!(ends(100, |_| None), Some(HashSet::from([100, 50])));
        assert_eq!(ends(200, |_| None), None);
        assert_eq!(ends(300, |_| None), None);
        let found = |address| (address == 207).then(|| Leaving { returns: vec![], jumps: vec![0] });
        assert_eq!(ends(200, found), Some(HashSet::from([200, 207])), "to itself in the end");
        let endless = |_| Some(Leaving { returns: vec![], jumps: vec![1] });
        assert_eq!(ends(400, endless), None);
    }
}
