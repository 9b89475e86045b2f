//! Random histories against a map of versions.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// One step of a history.
#[derive(Clone, Debug)]
enum Step {
    /// Write this key on this branch.
    Put { branch: usize, key: u32 },
    /// Flush this branch.
    Flush { branch: usize },
    /// Merge this branch's L0 layers, and make an image of what it has.
    Compact { branch: usize, image: bool },
    /// Branch off this branch's last record.
    Branch { from: usize },
    /// Crash and reload the root, after a flush.
    Restart,
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (0usize..4, 0u32..6).prop_map(|(branch, key)| Step::Put { branch, key }),
        3 => (0usize..4).prop_map(|branch| Step::Flush { branch }),
        2 => (0usize..4, any::<bool>())
            .prop_map(|(branch, image)| Step::Compact { branch, image }),
        1 => (0usize..4).prop_map(|from| Step::Branch { from }),
        1 => Just(Step::Restart),
    ]
}

type Versions = BTreeMap<(u32, u64), String>;

struct Branch {
    timeline: Arc<Timeline>,
    versions: Versions,
    lsn: u64,
}

async fn check(branch: &Branch) {
    for at in 0..6 {
        for lsn in (0x100..=branch.lsn).step_by(8) {
            let expected = branch.versions.range((at, 0)..=(at, lsn)).next_back();
            let found = branch.timeline.get(key(at), Lsn(lsn), &test_ctx()).await;
            match expected {
                None => assert!(found.unwrap_err().is_missing_key()),
                Some((_, text)) => assert_eq!(found.unwrap(), text.as_str(), "{at} at {lsn:#x}"),
            }
        }
    }
}

/// Makes an image of the keys that exist now.
async fn make_image(branch: &Branch) {
    let keys = KeySpace::from_keys(branch.versions.keys().map(|(at, _)| key(*at)));
    let range = key(0)..key(6);
    let image = branch
        .timeline
        .create_dense_image(range, &keys, Lsn(branch.lsn), &test_ctx())
        .await
        .unwrap();
    branch.timeline.publish_compacted(&[], image.into_iter().collect()).unwrap();
}

async fn run(steps: Vec<Step>) {
    let harness = TimelineHarness::new();
    harness.configure(|conf| conf.compaction_threshold = 2);
    let timeline = harness.create_timeline();
    let mut branches = vec![Branch { timeline, versions: Versions::new(), lsn: 0xF8 }];
    for (number, step) in steps.into_iter().enumerate() {
        match step {
            Step::Put { branch, key: at } => {
                let count = branches.len();
                let branch = &mut branches[branch % count];
                branch.lsn += 8;
                let text = format!("version {number}");
                put(&branch.timeline, key(at), branch.lsn, &text).await;
                branch.versions.insert((at, branch.lsn), text);
            }
            Step::Flush { branch } => {
                let timeline = &branches[branch % branches.len()].timeline;
                if timeline.last_record_lsn().is_valid() {
                    timeline.freeze_and_flush().await.unwrap();
                }
            }
            Step::Compact { branch, image } => {
                let branch = &branches[branch % branches.len()];
                branch.timeline.compact_level0(&test_ctx()).await.unwrap();
                if image && branch.timeline.last_record_lsn().is_valid() {
                    make_image(branch).await;
                }
            }
            Step::Branch { from } => {
                let parent = &branches[from % branches.len()];
                if branches.len() < 4 && parent.timeline.last_record_lsn().is_valid() {
                    let timeline = harness.branch(&parent.timeline, Lsn(parent.lsn));
                    let (versions, lsn) = (parent.versions.clone(), parent.lsn);
                    branches.push(Branch { timeline, versions, lsn });
                }
            }
            Step::Restart => {
                // Only a timeline that nobody branched from can be replaced under the tests.
                let last = branches.pop().unwrap();
                if last.timeline.last_record_lsn().is_valid() && !last.versions.is_empty() {
                    last.timeline.freeze_and_flush().await.unwrap();
                    if last.timeline.disk_consistent_lsn() >= last.timeline.ancestor_lsn() {
                        let (timeline, lsn) = (&last.timeline, Lsn(last.lsn));
                        timeline.schedule_progress_upload(&timeline.layers_read(), lsn).unwrap();
                        last.timeline.remote_client.wait_completion().await.unwrap();
                        let has_children = Arc::strong_count(&last.timeline) > 1
                            && branches.iter().any(|other| {
                                other.timeline.ancestor_timeline_id()
                                    == Some(last.timeline.timeline_id)
                            });
                        let timeline = match has_children {
                            true => last.timeline,
                            false => harness.restart(last.timeline).await,
                        };
                        branches.push(Branch { timeline, ..last });
                        continue;
                    }
                }
                branches.push(last);
            }
        }
    }
    for branch in &branches {
        check(branch).await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn every_version_of_every_branch_is_read_back(
        steps in proptest::collection::vec(any_step(), 1..60),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(run(steps));
    }
}
