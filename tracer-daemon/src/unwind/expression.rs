//! DWARF expressions: small programs in a file that somebody else wrote.

use gimli::{Encoding, EndianSlice, EvaluationResult, Expression, LittleEndian, Location, Value};

use super::{copy::StackCopy, registers::Registers};

/// Operations that one may take. Those of real tables take a dozen.
const MOST_OPERATIONS: u32 = 256;

/// What an expression comes to: the address or the value at the end of it. `None` if it is wrong,
/// asks for what is not known, or takes too long.
pub(super) fn evaluate(
    expression: Expression<EndianSlice<'_, LittleEndian>>,
    encoding: Encoding,
    initial: Option<u64>,
    registers: &Registers,
    stack: &StackCopy,
) -> Option<u64> {
    let mut evaluation = expression.evaluation(encoding);
    evaluation.set_max_iterations(MOST_OPERATIONS);
    if let Some(value) = initial {
        evaluation.set_initial_value(value);
    }
    let mut state = evaluation.evaluate().ok()?;
    // Each turn is at least an operation.
    for _ in 0..MOST_OPERATIONS {
        state = match state {
            EvaluationResult::Complete => {
                let pieces = evaluation.as_result();
                return match pieces {
                    [piece] => match piece.location {
                        Location::Address { address } => Some(address),
                        Location::Value { value } => value.to_u64(u64::MAX).ok(),
                        _ => None,
                    },
                    _ => None,
                };
            }
            EvaluationResult::RequiresRegister { register, .. } => {
                let value = registers.get(register)?;
                evaluation.resume_with_register(Value::Generic(value)).ok()?
            }
            EvaluationResult::RequiresMemory { address, size, space: None, .. } => {
                let value = stack.read(address, size.into())?;
                evaluation.resume_with_memory(Value::Generic(value)).ok()?
            }
            _ => return None,
        };
    }
    None
}
