//! A graph as a named tree, read from timely's own log of its construction.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use operators::record::Tick;
use timely::dataflow::Scope;
use timely::logging::{TimelyEvent, TimelyEventBuilder};

/// The names of the operators that `build` installs, a line each, indented by region.
pub fn tree(build: impl for<'scope> Fn(Scope<'scope, Tick>) + Send + Sync + 'static) -> String {
    let names: Arc<Mutex<BTreeMap<Vec<usize>, String>>> = Arc::default();
    timely::execute_directly({
        let names = Arc::clone(&names);
        move |worker| {
            if let Some(mut register) = worker.log_register() {
                register.insert::<TimelyEventBuilder, _>("timely", move |_time, events| {
                    let mut names = names.lock().unwrap_or_else(PoisonError::into_inner);
                    for (_, event) in events.iter().flat_map(|events| events.iter()) {
                        if let TimelyEvent::Operates(operator) = event {
                            names.insert(operator.addr.clone(), operator.name.clone());
                        }
                    }
                });
            }
            worker.dataflow::<Tick, _, _>(&build);
            while worker.step() {}
            if let Some(mut register) = worker.log_register() {
                register.flush();
            }
        }
    });
    let names = names.lock().unwrap_or_else(PoisonError::into_inner);
    names.iter().map(|(address, name)| format!("{:1$}{name}\n", "", 2 * (address.len() - 1))).collect()
}
