//! The models that are loaded, by the method that they read by.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use operators::model::{MapGrid, Model};
use operators::record::{Digest, Method, MethodConfig, Methods};

use crate::stages::StageError;

/// A model with the numbers that it is used with.
pub(crate) struct Reader {
    pub(crate) method: Arc<Method>,
    /// The cells of the model's maps.
    pub(crate) map: MapGrid,
    model: Mutex<Model>,
}

impl Reader {
    pub(crate) fn model(&self) -> MutexGuard<'_, Model> {
        self.model.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The loaded models. A record of the collection of uses names one of them.
#[derive(Clone, Default)]
pub(crate) struct Readers {
    pub(crate) methods: Methods,
    readers: Arc<RwLock<HashMap<Digest, Arc<Reader>>>>,
}

impl Readers {
    pub(crate) fn load(&self, model: Model, config: MethodConfig) -> Result<Arc<Method>, StageError> {
        let method = self.methods.add(Method::new(model.digest(), model.name(), config)?);
        let reader = Reader { method: Arc::clone(&method), map: model.map_grid(), model: Mutex::new(model) };
        let mut readers = self.readers.write().unwrap_or_else(PoisonError::into_inner);
        readers.entry(method.digest).or_insert_with(|| Arc::new(reader));
        Ok(method)
    }

    pub(crate) fn unload(&self, method: &Digest) {
        self.readers.write().unwrap_or_else(PoisonError::into_inner).remove(method);
    }

    pub(crate) fn get(&self, method: &Digest) -> Result<Arc<Reader>, StageError> {
        let readers = self.readers.read().unwrap_or_else(PoisonError::into_inner);
        readers.get(method).cloned().ok_or(StageError::Missing { kind: "model of the method", name: *method })
    }

    /// Runs the tasks of each method by its reader, and gives their answers in the order of the tasks.
    pub(crate) fn run<Q, A>(
        &self,
        tasks: &[Q],
        method: impl Fn(&Q) -> Digest,
        run: impl Fn(&Reader, &[&Q]) -> Result<Vec<A>, StageError>,
    ) -> Result<Vec<A>, StageError> {
        let mut by_method: HashMap<Digest, (Vec<usize>, Vec<&Q>)> = HashMap::new();
        for (index, task) in tasks.iter().enumerate() {
            let (indices, tasks) = by_method.entry(method(task)).or_default();
            indices.push(index);
            tasks.push(task);
        }
        let mut answers = Vec::with_capacity(tasks.len());
        for (method, (indices, tasks)) in by_method {
            answers.extend(indices.into_iter().zip(run(&*self.get(&method)?, &tasks)?));
        }
        answers.sort_unstable_by_key(|(index, _)| *index);
        Ok(answers.into_iter().map(|(_, answer)| answer).collect())
    }
}
