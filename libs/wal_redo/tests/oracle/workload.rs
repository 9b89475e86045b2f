//! The project's own workload: every type of record, sessions that meet, and two crashes.

use std::path::PathBuf;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use pg_testing::TestCluster;

/// Logged hints, and other values that the log must say.
const SETTINGS_AFTER_CRASH: &str = "wal_log_hints = on\nmax_connections = 61\n";

fn script(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/oracle").join(name)
}

/// Runs everything; the server runs before and after.
pub fn run(cluster: &mut TestCluster) {
    cluster.run_script("postgres", &script("workload.sql"), &[]);
    cluster.run_script("postgres", &script("indexes.sql"), &[]);
    cluster.client("pgbench", &["-q", "-i", "-s", "2", "--foreign-keys", "postgres"]);
    crash_under_load(cluster);
    cluster.configure(SETTINGS_AFTER_CRASH);
    cluster.start();
    meet(cluster);
    cluster.run_script("postgres", &script("records.sql"), &[]);
    switch_page_images(cluster);
    crash_under_load(cluster);
    cluster.start();
    meet(cluster);
}

/// Lets several sessions change and lock the same few rows.
fn meet(cluster: &TestCluster) {
    cluster.client("pgbench", &["-c", "8", "-j", "2", "-t", "100", "postgres"]);
    let (lock, update) = (script("lock.sql"), script("update.sql"));
    let (lock, update) = (lock.to_str().unwrap(), update.to_str().unwrap());
    let fixed = ["-n", "-c", "8", "-j", "2", "-t", "60", "--max-tries=50"];
    cluster.client("pgbench", &[&fixed[..], &["-f", lock, "-f", update, "postgres"]].concat());
}

/// Kills the server while sessions write. They fail, as they must.
fn crash_under_load(cluster: &mut TestCluster) {
    let (ready, started) = std::sync::mpsc::channel();
    thread::scope(|scope| {
        let socket = cluster.pgdata().parent().unwrap().to_owned();
        let mut load = cluster.command("pgbench");
        load.args(["-n", "-c", "4", "-j", "2", "-T", "60", "-U", "postgres", "-h"]).arg(socket);
        load.arg("postgres").stdout(Stdio::null()).stderr(Stdio::null());
        scope.spawn(move || {
            let child = load.spawn();
            let mut child = child.expect("running pgbench");
            ready.send(()).expect("the test waits");
            let status = child.wait().expect("waiting for pgbench");
            assert!(!status.success(), "the server went away, and pgbench did not notice");
        });
        started.recv().expect("pgbench runs");
        wait_for_commits(cluster, 200);
        cluster.kill();
    });
}

/// Waits until sessions have committed that many transactions more.
fn wait_for_commits(cluster: &TestCluster, wanted: u64) {
    let commits = || {
        let text = cluster.sql("SELECT pg_current_xact_id()");
        text.parse::<u64>().expect("a transaction id is a number")
    };
    let start = commits();
    let deadline = Instant::now() + Duration::from_secs(60);
    while commits() < start + wanted {
        assert!(Instant::now() < deadline, "no transactions happen");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Turns page images off and on while pages are changed.
fn switch_page_images(cluster: &TestCluster) {
    for setting in ["off", "on"] {
        cluster.sql(&format!("ALTER SYSTEM SET full_page_writes = {setting}"));
        cluster.sql("SELECT pg_reload_conf()");
        // A checkpoint follows the configuration, and logs that it does.
        cluster.sql("CHECKPOINT");
        cluster.sql("UPDATE pgbench_branches SET bbalance = bbalance + 1");
        cluster.sql("CHECKPOINT");
    }
}

/// So many that a segment of the commit log can go.
pub fn burn_a_million_transactions(cluster: &TestCluster) {
    cluster.run_script("postgres", &script("million.sql"), &[]);
}
