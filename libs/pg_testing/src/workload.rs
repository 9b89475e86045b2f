//! A workload that makes a server log every type of record there is: SQL, sessions that meet, and
//! two crashes. What redo is checked against, and where the seeds of its fuzz targets come from.

use std::path::PathBuf;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use crate::TestCluster;

/// Logged hints, and other values that the log must say.
const SETTINGS_AFTER_CRASH: &str = "wal_log_hints = on\nmax_connections = 61\n";

/// How long the workers of autovacuum may take to end.
const AUTOVACUUM_DEADLINE: Duration = Duration::from_secs(60);

fn script(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("workload").join(name)
}

/// Runs the scripts alone, without crashes and without sessions that meet. The server needs
/// `wal_level = logical` and `max_prepared_transactions`.
pub fn run_scripts(cluster: &TestCluster) {
    for name in ["heap.sql", "indexes.sql", "records.sql"] {
        cluster.run_script("postgres", &script(name), &[]);
    }
}

/// Runs everything; the server runs before and after. It needs what [`run_scripts`] does.
pub fn run(cluster: &mut TestCluster) {
    cluster.run_script("postgres", &script("heap.sql"), &[]);
    cluster.run_script("postgres", &script("indexes.sql"), &[]);
    cluster.client("pgbench", &["-q", "-i", "-s", "2", "--foreign-keys", "postgres"]);
    cluster.configure(SETTINGS_AFTER_CRASH);
    crash_under_load(cluster);
    meet(cluster);
    cluster.run_script("postgres", &script("records.sql"), &[]);
    switch_page_images(cluster);
    crash_under_load(cluster);
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
///
/// With `wal_consistency_checking` a server that recovers compares what it has redone too, and
/// ends itself where a page differs. After a DELETE record of GiST one does: redo marks the page as
/// one that lost tuples, what logged the record does not, and the server's comparison does not
/// blank that flag (nothing reads it). So recovery must not meet one: it starts from a checkpoint
/// after which only the load writes, and the load has no GiST index.
fn crash_under_load(cluster: &mut TestCluster) {
    end_autovacuum(cluster);
    cluster.sql("CHECKPOINT");
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
    cluster.start();
    cluster.sql("ALTER SYSTEM RESET autovacuum");
    cluster.sql("SELECT pg_reload_conf()");
}

/// Stops autovacuum until the setting is reset; waits until no worker is left.
fn end_autovacuum(cluster: &TestCluster) {
    cluster.sql("ALTER SYSTEM SET autovacuum = off");
    cluster.sql("SELECT pg_reload_conf()");
    let deadline = Instant::now() + AUTOVACUUM_DEADLINE;
    let left = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
                WHERE backend_type LIKE 'autovacuum%'";
    while cluster.sql(left) != "0" {
        assert!(Instant::now() < deadline, "autovacuum does not end");
        thread::sleep(Duration::from_millis(20));
    }
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

/// So many that a segment of the commit log can go, and goes.
pub fn burn_a_million_transactions(cluster: &TestCluster) {
    cluster.run_script("postgres", &script("million.sql"), &[]);
    freeze(cluster);
    // What a checkpoint has not seen yet is kept.
    cluster.sql("CHECKPOINT");
    freeze(cluster);
}

/// Freezes the rows of every database: one that is left out keeps all of the old files.
fn freeze(cluster: &TestCluster) {
    let set_template0 = |allowed: bool| {
        let update = format!("UPDATE pg_database SET datallowconn = {allowed}");
        cluster.sql(&format!("{update} WHERE datname = 'template0'"));
    };
    set_template0(true);
    let databases = cluster.sql("SELECT datname FROM pg_database WHERE datallowconn");
    for database in databases.lines() {
        let settings = "SET vacuum_freeze_min_age = 0; SET vacuum_multixact_freeze_min_age = 0;";
        cluster.sql_in(database, &format!("{settings} VACUUM (FREEZE)"));
    }
    set_template0(false);
}
