//! PostgreSQL's own regression SQL, run for the WAL that it makes. What the statements print, and
//! whether they succeed, does not matter here: the test library of C functions is not installed.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use pg_testing::TestCluster;
use postgres_ffi::PgMajor;

const DATABASE: &str = "regression";
/// Names the directory with `<major>/src/test/regress`.
const SOURCES_VARIABLE: &str = "POSTGRES_SOURCE_DIR";
/// Scripts that run at once.
const SESSIONS: usize = 8;
/// A script that tests the client alone, and waits for ever where that is of 15, as here.
const CLIENT_SCRIPT: &str = "psql_pipeline";
/// A script that waits for something that never comes is ended.
const SCRIPT_DEADLINE: Duration = Duration::from_secs(300);
/// How long a server may take to redo what it has logged since its last checkpoint.
const RECOVERY_DEADLINE: Duration = Duration::from_secs(600);

/// The regression directory of a version or, where its sources are not to be had, the nearest.
fn sources(major: PgMajor) -> (PgMajor, PathBuf) {
    let root = std::env::var_os(SOURCES_VARIABLE);
    let root = PathBuf::from(root.unwrap_or_else(|| panic!("{SOURCES_VARIABLE} is not set")));
    let directory = |major: PgMajor| root.join(major.to_string()).join("src/test/regress");
    let mut versions = PgMajor::ALL;
    versions.sort_by_key(|other| other.number().abs_diff(major.number()));
    let found = versions.into_iter().find(|version| directory(*version).is_dir());
    let found = found.unwrap_or_else(|| panic!("no sources below {}", root.display()));
    (found, directory(found))
}

/// The groups of a schedule, whose scripts run side by side.
fn schedule(directory: &Path) -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(directory.join("parallel_schedule")).unwrap();
    let groups = text.lines().filter_map(|line| line.strip_prefix("test:"));
    let scripts = |names: &str| {
        let scripts = names.split_whitespace().filter(|name| *name != CLIENT_SCRIPT);
        scripts.map(str::to_owned).collect()
    };
    groups.map(scripts).collect()
}

/// Waits until the server takes connections: newer SQL than the server's brings backends to
/// segmentation faults, after which it starts anew. Its recovery, of WAL made for consistency checks,
/// can end at a hash index that was dropped later: the image of a page that a record does not change
/// is compared with a page that is not there.
fn wait_for_recovery(cluster: &TestCluster) {
    let socket = cluster.pgdata().parent().unwrap().to_owned();
    let deadline = Instant::now() + RECOVERY_DEADLINE;
    while !cluster.run("pg_isready", &["-q", "-h", socket.to_str().unwrap()]).status.success() {
        let is_there = cluster.pgdata().join("postmaster.pid").exists();
        let log = socket.join("server.log");
        assert!(is_there, "the server has ended; its log: {}", log.display());
        assert!(Instant::now() < deadline, "the server does not come back after a crash");
        thread::sleep(Duration::from_millis(100));
    }
}

/// Runs the schedule on the server.
pub fn run(cluster: &TestCluster, major: PgMajor) {
    let (version, directory) = sources(major);
    println!("PostgreSQL {major}: regression SQL of {version} in {}", directory.display());
    cluster.sql(&format!("CREATE DATABASE {DATABASE} TEMPLATE template0"));
    for (key, value) in [("lc_messages", "'C'"), ("timezone_abbreviations", "'Default'")] {
        cluster.sql(&format!("ALTER DATABASE {DATABASE} SET {key} TO {value}"));
    }
    let groups = schedule(&directory);
    for (number, group) in (1..).zip(&groups) {
        println!("PostgreSQL {major}: group {number} of {} of the schedule", groups.len());
        for scripts in group.chunks(SESSIONS) {
            thread::scope(|scope| {
                for name in scripts {
                    let path = directory.join("sql").join(format!("{name}.sql"));
                    let directory = &directory;
                    scope.spawn(move || run_script(cluster, directory, &path));
                }
            });
        }
    }
    wait_for_recovery(cluster);
}

fn run_script(cluster: &TestCluster, directory: &Path, script: &Path) {
    let mut psql = cluster.command("psql");
    let socket = cluster.pgdata().parent().unwrap().to_owned();
    psql.env("PGTZ", "PST8PDT").env("PGDATESTYLE", "Postgres, MDY");
    psql.env("PG_ABS_SRCDIR", directory).env("PG_ABS_BUILDDIR", &socket);
    psql.env("PG_LIBDIR", directory).env("PG_DLSUFFIX", ".so");
    psql.env("PGOPTIONS", "-c intervalstyle=postgres_verbose");
    psql.args(["-X", "-q", "-U", "postgres", "-d", DATABASE, "-h"]).arg(&socket);
    psql.arg("-f").arg(script).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = psql.spawn().expect("running psql");
    let deadline = Instant::now() + SCRIPT_DEADLINE;
    while child.try_wait().expect("waiting for psql").is_none() {
        if Instant::now() > deadline {
            println!("{} takes too long and is ended", script.display());
            child.kill().expect("ending psql");
        }
        thread::sleep(Duration::from_millis(20));
    }
}
