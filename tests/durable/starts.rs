//! Starts on a data folder: what is done again and what is not, and what stands in the way.

use hemoflow::data::published_as;

use super::*;

/// The bytes of each result.
fn bytes(collected: &Collected) -> Vec<Vec<u8>> {
    let json = |current: &Current| serde_json::to_vec(&current.report()).expect("JSON");
    collected.series.values().chain(collected.shadows.values()).map(json).collect()
}

/// Starts again on a data folder, sends `again`, and gives how many blocks were computed for it and the bytes of all
/// results. Nothing is published.
#[track_caller]
fn restarted(data: &Path, model: usize, again: &[Step]) -> (u64, Vec<Vec<u8>>) {
    let before = versions(&entries(data));
    let mut trial = Trial::start(data, model, 2).expect("a node");
    trial.send(again);
    trial.node.settle().expect("a node that works");
    let seen = trial.seen.lock().expect("a lock").len();
    assert_eq!(seen, before.values().map(Vec::len).sum::<usize>(), "every version is seen again");
    let computed = trial.computed();
    let collected = trial.node.finish().expect("a clean end");
    assert_eq!(versions(&entries(data)), before);
    (computed, bytes(&collected))
}

#[test]
fn what_comes_again_is_neither_computed_nor_published_nor_changed() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path();
    let steps = [plain(), vec![Step::Sign(0, 0), Step::Shadow(Some(1)), Step::Sign(2, 0), Step::Refuse(0)]].concat();
    let mut trial = Trial::start(data, 0, 1).expect("a node");
    trial.send(&steps);
    let expected = bytes(&trial.node.finish().expect("a clean end"));
    assert!(versions(&entries(data)).keys().any(|(_, role)| *role == Role::Shadow), "a shadow has published");
    assert_eq!(restarted(data, 0, &[]), (0, expected.clone()));
    assert_eq!(restarted(data, 0, &steps), (0, expected.clone()));
    fs::remove_dir_all(data.join("store")).expect("a store");
    let (computed, results) = restarted(data, 0, &steps);
    assert!(computed > 0, "there was no store");
    assert_eq!(results, expected);
}

#[test]
fn a_series_that_was_let_go_comes_back_whole_and_only_for_what_changes_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path();
    let mut trial = Trial::start(data, 0, 1).expect("a node");
    let first: Vec<Step> = plain().into_iter().filter(|step| *step != plain_step(2)).collect();
    trial.send(&first);
    trial.send(&[Step::Sign(0, 0), Step::Release(0)]);
    trial.node.settle().expect("a node that works");
    let published = |data: &Path| versions(&entries(data)).values().map(Vec::len).sum::<usize>();
    let (before, computed) = (published(data), trial.computed());
    // What changes nothing brings nothing back, and is behind at once.
    trial.send(&[plain_step(1), Step::Sign(0, 0), Step::Withdraw(2), Step::Release(0)]);
    trial.node.settle().expect("a node that works");
    assert_eq!((published(data), trial.computed()), (before, computed));
    trial.send(&[plain_step(2)]);
    trial.node.settle().expect("a node that works");
    assert_eq!(published(data), before + 1, "one version, of the whole series");
    assert!(
        state(&trial.node.finish().expect("a clean end"))
            == told(&[plain(), vec![Step::Sign(0, 0)]].concat(), &REFERENCES).state
    );
}

#[test]
fn a_history_with_everything_in_it_comes_out_the_same() {
    let (folder, steps) = history();
    let data = folder.path();
    let (computed, expected) = restarted(data, 1, &[]);
    assert_eq!(computed, 0, "a replay finds what was replaced, too");
    let present = [0, 2, 4, 5].map(plain_step);
    let again = [&present[..], &[Step::Arrive(1, Form::Repainted), Step::Sign(0, 0), Step::Shadow(Some(0))]].concat();
    assert_eq!(restarted(data, 1, &again), (0, expected.clone()));
    fs::remove_dir_all(data.join("store")).expect("a store");
    let (without_store, results) = restarted(data, 1, &again);
    assert!(computed < without_store, "{computed} of {without_store}");
    assert_eq!(results, expected);
    assert!(state_of(data) == told(&steps, &REFERENCES).state);
}

fn state_of(data: &Path) -> State {
    state(&Trial::start(data, 1, 1).expect("a node").node.finish().expect("a clean end"))
}

/// The log has its test beside the node.
#[test]
fn a_node_whose_executor_fails_says_so_and_ends_all_the_same() {
    let folder = tempfile::tempdir().expect("a folder");
    for workers in [1, 2] {
        let mut trial = Trial::start(&folder.path().join(workers.to_string()), 0, workers).expect("a node");
        trial.send(&plain()[..2]);
        trial.node.settle().expect("nothing has failed yet");
        // A slice that nobody has sent the pixels of.
        trial.node.send(INSTANCES[2][&Form::Plain].arrival()).expect("it is taken");
        let said = |error: anyhow::Error| assert!(format!("{error:#}").contains("Decode: the pixels"), "{error:#}");
        trial.node.settle().map_or_else(said, |()| panic!("there are no pixels"));
        let payload = payload(3, Form::Plain).map(|bytes| Payload { input: Path::new("received.dcm"), bytes });
        let refused = trial.node.arrive(&INSTANCES[3][&Form::Plain], payload, false);
        said(refused.expect_err("nothing is acknowledged any more"));
        said(trial.node.finish().expect_err("it has failed"));
    }
}

#[test]
fn what_was_there_before_is_not_computed_again_when_more_comes() {
    let folder = tempfile::tempdir().expect("a folder");
    let all = plain();
    let half = all.len() / 2;
    let mut first = Trial::start(folder.path(), 0, 1).expect("a node");
    first.send(&all[..half]);
    first.node.settle().expect("a node that works");
    let decoded = |trial: &Trial| trial.telemetry.metrics().tasks_of("Decode");
    assert_eq!(decoded(&first), half as u64);
    first.node.finish().expect("a clean end");
    let mut second = Trial::start(folder.path(), 0, 1).expect("a node");
    second.send(&all);
    second.node.settle().expect("a node that works");
    assert_eq!(decoded(&second), (all.len() - half) as u64);
    let collected = second.node.finish().expect("a clean end");
    assert!(state(&collected) == told(&all, &REFERENCES).state);
}

#[test]
fn a_data_folder_has_one_node_at_a_time_and_is_free_as_soon_as_it_is_gone() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut first = Trial::start(folder.path(), 0, 4).expect("a node");
    first.send(&plain());
    let refused = Trial::start(folder.path(), 0, 1).err().expect("it is in use");
    assert!(format!("{refused:#}").contains("in use by another process"), "{refused:#}");
    drop(first);
    for workers in [1, 2, 4] {
        let mut next = Trial::start(folder.path(), 0, workers).expect("it is free");
        next.send(&plain()[..3]);
    }
}

#[test]
fn blocks_that_no_replay_comes_by_leave_the_disk() {
    let (folder, _) = history();
    let data = folder.path();
    let on_disk = || {
        let trial = Trial::start(data, 1, 1).expect("a node");
        trial.node.settle().expect("a node that works");
        let usage = trial.node.stages().store.usage();
        trial.node.finish().expect("a clean end");
        usage.iter().map(|kind| kind.stored_blocks).sum::<usize>()
    };
    let before = on_disk();
    assert_eq!(on_disk(), before, "a replay needs all of them");
    // The log of a node that has just begun.
    let log = fs::read(data.join("log")).expect("a log");
    fs::write(data.join("log"), &log[..8]).expect("written");
    assert_eq!((before > 0, on_disk()), (true, 0));
}

#[test]
fn a_changed_payload_and_a_missing_model_are_named() {
    let (folder, _) = history();
    let data = folder.path();
    let payload = fs::read_dir(data.join("payloads")).expect("payloads").next().expect("one").expect("an entry").path();
    let (sound, name) = (fs::read(&payload).expect("a file"), payload.file_name().expect("a name"));
    let mut changed = sound.clone();
    *changed.last_mut().expect("a byte") ^= 1;
    fs::write(&payload, changed).expect("written");
    let error = format!("{:#}", Trial::start(data, 0, 1).err().expect("not what it was"));
    assert!(error.contains("the log at tick") && error.contains(&*name.to_string_lossy()), "{error}");
    fs::write(&payload, sound).expect("written");
    let sha256 = MODELS[1].name().sha256;
    fs::rename(data.join("models").join(&sha256), data.join("gone")).expect("moved");
    let error = format!("{:#}", Trial::start(data, 0, 1).err().expect("a model is missing"));
    assert!(error.contains("the log at tick") && error.contains(&sha256), "{error}");
}

#[test]
fn the_log_names_each_result_by_its_bytes() {
    let (folder, _) = history();
    let trial = Trial::start(folder.path(), 1, 1).expect("a node");
    trial.node.settle().expect("a node that works");
    let seen = std::mem::take(&mut *trial.seen.lock().expect("a lock"));
    let logged: BTreeMap<_, _> = entries(folder.path())
        .into_iter()
        .filter_map(|entry| if let Event::Published(published) = entry.event { Some(published) } else { None })
        .map(|published| ((published.key, published.role, published.version), published.result))
        .collect();
    assert_eq!(logged.len(), seen.len());
    for current in seen {
        let publication = &current.publication;
        let named = (publication.key.clone(), publication.role, publication.version);
        assert_eq!(logged.get(&named), Some(&published_as(&current).expect("JSON")), "{named:?}");
    }
}

/// A start that fails half way ends, and says why: its threads must not wait for each other.
#[test]
fn a_start_that_cannot_keep_its_model_names_the_folder_and_ends() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("models"), b"no folder").expect("written");
    let Err(error) = Trial::start(folder.path(), 0, 1) else { panic!("a model was kept in a file") };
    assert!(format!("{error:#}").contains("models"), "{error:#}");
    fs::remove_file(folder.path().join("models")).expect("removed");
    let trial = Trial::start(folder.path(), 0, 1).expect("the folder is free again");
    trial.node.finish().expect("a clean end");
}
