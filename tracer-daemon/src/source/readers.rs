use std::sync::{Arc, Mutex, PoisonError};

use aya::{
    Ebpf,
    maps::{Array, MapData, MapError},
};

/// Tells the kernel programs when the tracer reads a target's mappings. Reading takes the target's
/// `mmap_lock`, and waits for it are then not the target's own. The default tells nobody.
#[derive(Clone, Default)]
pub struct Readers(Option<Arc<Mutex<Table>>>);

struct Table {
    at_work: u32,
    map: Array<MapData, u32>,
}

impl Readers {
    /// Takes the map out of the loaded object.
    ///
    /// # Errors
    /// When it is missing: the object is not this version's.
    pub fn take(ebpf: &mut Ebpf) -> Result<Self, MapError> {
        let map = super::take(ebpf, "READERS")?;
        Ok(Self(Some(Arc::new(Mutex::new(Table { at_work: 0, map })))))
    }

    /// Does the reading.
    pub fn during<T>(&self, read: impl FnOnce() -> T) -> T {
        self.add(1);
        let result = read();
        self.add(-1);
        result
    }

    fn add(&self, readers: i32) {
        let Some(table) = &self.0 else { return };
        let mut table = table.lock().unwrap_or_else(PoisonError::into_inner);
        table.at_work = table.at_work.saturating_add_signed(readers);
        let at_work = table.at_work;
        if let Err(error) = table.map.set(0, at_work, 0) {
            log::debug!("waits caused by reading mappings are not told apart: {error}");
        }
    }
}
