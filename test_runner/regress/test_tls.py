"""TLS as stock clients see it, and a whole cluster that speaks nothing else for WAL and pages."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import requests
from fixtures.certificates import Certificates
from fixtures.common import Lsn, PortDistributor, wait_until
from fixtures.neon_fixtures import NeonEnv, NeonEnvBuilder, Safekeeper
from fixtures.pg import TOOLS


def conninfo(env: NeonEnv, safekeeper: Safekeeper, tls: str) -> str:
    options = f"-c tenant_id={env.initial_tenant} -c timeline_id={env.initial_timeline}"
    return f"host=localhost port={safekeeper.pg_port} user=replica dbname=postgres options='{options}' {tls}"


def wait_until_committed_everywhere(env: NeonEnv, end: Lsn) -> None:
    """A commit needs a quorum only, and what the third lacks at the end of the compute it lacks."""

    def committed() -> None:
        for safekeeper in env.safekeepers:
            known = safekeeper.http().commit_lsn(env.initial_tenant, env.initial_timeline)
            assert known >= end

    wait_until(committed)


def psql(dsn: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [TOOLS / "psql", "-At", "-c", "TIMELINE_STATUS", dsn], capture_output=True, text=True, timeout=30
    )


def test_stock_clients_verify_a_safekeeper(
    neon_env_builder: NeonEnvBuilder, port_distributor: PortDistributor, test_output_dir: Path
) -> None:
    certificates = Certificates(test_output_dir / "certificates")
    env = neon_env_builder.init_start()
    endpoint = env.endpoint()
    endpoint.sql("CREATE TABLE t AS SELECT n FROM generate_series(1, 10000) n")
    end = endpoint.flush_lsn()
    wait_until_committed_everywhere(env, end)
    endpoint.stop()
    # From here on it encrypts; nobody else has to know.
    safekeeper = env.safekeepers[0]
    https_port = port_distributor.get_port()
    safekeeper.stop()
    safekeeper.start(
        "--enable-tls-wal-service-api", f"--listen-https=127.0.0.1:{https_port}",
        f"--ssl-cert-file={certificates.cert_file}", f"--ssl-key-file={certificates.key_file}",
    )
    trusting = f"sslmode=verify-full sslrootcert={certificates.ca_file}"
    answer = psql(conninfo(env, safekeeper, trusting))
    assert answer.returncode == 0, answer.stderr
    assert Lsn(answer.stdout.strip().split("|")[0]) >= end
    refused = psql(conninfo(env, safekeeper, "sslmode=disable"))
    assert refused.returncode != 0 and "must connect with TLS" in refused.stderr
    strangers = Certificates(test_output_dir / "strangers")
    refused = psql(conninfo(env, safekeeper, f"sslmode=verify-full sslrootcert={strangers.ca_file}"))
    assert refused.returncode != 0 and "certificate verify failed" in refused.stderr

    url = f"https://localhost:{https_port}/v1/status"
    assert requests.get(url, verify=str(certificates.ca_file), timeout=10).json()["id"] == safekeeper.id
    with pytest.raises(requests.exceptions.SSLError):
        requests.get(url, verify=str(strangers.ca_file), timeout=10)
    check_pg_receivewal(env, safekeeper, trusting, end, test_output_dir / "received")


def check_pg_receivewal(
    env: NeonEnv, safekeeper: Safekeeper, tls: str, end: Lsn, directory: Path
) -> None:
    directory.mkdir()
    before = end + -1
    done = subprocess.run(
        [
            TOOLS / "pg_receivewal", "-D", directory, "--no-loop", "--no-sync", "-E", str(before),
            "-d", conninfo(env, safekeeper, tls),
        ],
        capture_output=True, text=True, timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert any(path.stat().st_size for path in directory.iterdir())


def test_a_pageserver_follows_wal_over_tls_and_serves_pages_over_it(
    neon_env_builder: NeonEnvBuilder, port_distributor: PortDistributor, test_output_dir: Path
) -> None:
    certificates = Certificates(test_output_dir / "certificates")
    https_port = port_distributor.get_port()
    neon_env_builder.pageserver_config = {
        "walreceiver_sslmode": "prefer",
        "listen_https_addr": f"127.0.0.1:{https_port}",
        "ssl_cert_file": str(certificates.cert_file),
        "ssl_key_file": str(certificates.key_file),
        "ssl_ca_file": str(certificates.ca_file),
    }
    env = neon_env_builder.init_start()
    endpoint = env.endpoint()
    endpoint.sql("CREATE TABLE t AS SELECT n FROM generate_series(1, 1000) n")
    env.pageserver.stop()
    endpoint.sql("INSERT INTO t SELECT generate_series(1001, 2000)")
    end = endpoint.flush_lsn()
    wait_until_committed_everywhere(env, end)
    endpoint.stop()
    # The safekeepers encrypt from now on, and the pageserver catches up with them.
    for safekeeper in env.safekeepers:
        safekeeper.stop()
        safekeeper.start(
            "--enable-tls-wal-service-api", f"--ssl-cert-file={certificates.cert_file}",
            f"--ssl-key-file={certificates.key_file}", f"--ssl-ca-file={certificates.ca_file}",
            "--peer-recovery=true",
        )
    env.pageserver.start()
    url = f"https://localhost:{https_port}/v1/tenant/{env.initial_tenant}/timeline/{env.initial_timeline}"

    def caught_up() -> None:
        answer = requests.get(
            url, params={"force-await-initial-logical-size": "false"},
            verify=str(certificates.ca_file), timeout=10,
        )
        assert Lsn(answer.json()["last_record_lsn"]) >= end

    wait_until(caught_up, timeout_s=60)


def test_a_cluster_with_certificates_encrypts_everything(neon_env_builder: NeonEnvBuilder) -> None:
    neon_env_builder.generate_local_ssl_certs = True
    env = neon_env_builder.init_start()
    endpoint = env.endpoint()
    env.pg_bin.run("pgbench", "-i", "-s", "1", "-I", "dtgvp", "-d", endpoint.connstr())
    env.pg_bin.run("pgbench", "-c", "2", "-t", "50", "-d", endpoint.connstr())
    expected = endpoint.sql("SELECT count(*), sum(delta) FROM pgbench_history")
    end = endpoint.flush_lsn()
    wait_until_committed_everywhere(env, end)
    # Nobody is served in plain text.
    for safekeeper in env.safekeepers:
        refused = psql(conninfo(env, safekeeper, "sslmode=disable"))
        assert refused.returncode != 0 and "must connect with TLS" in refused.stderr
    answer = requests.get(f"http://127.0.0.1:{env.broker_port}/status", timeout=10)
    assert answer.status_code == 426 and "must connect with TLS" in answer.text
    broker = f"https://127.0.0.1:{env.broker_port}/status"
    assert requests.get(broker, verify=str(env.ca_file), timeout=10).status_code == 200
    # Everybody finds each other again, encrypted: WAL that is not stored yet is announced by the
    # safekeepers through the broker, fetched by the pageserver, and served as pages.
    endpoint.stop()
    env.stop()
    env.start()
    endpoint.start()
    assert endpoint.sql("SELECT count(*), sum(delta) FROM pgbench_history") == expected
    replica = env.endpoint(hot_standby=True)

    def the_replica_follows() -> None:
        assert replica.sql("SELECT count(*), sum(delta) FROM pgbench_history") == expected

    wait_until(the_replica_follows, timeout_s=60)


def test_a_safekeeper_that_does_not_encrypt_towards_the_broker_says_what_to_do(
    neon_env_builder: NeonEnvBuilder,
) -> None:
    neon_env_builder.generate_local_ssl_certs = True
    env = neon_env_builder.init_start()
    safekeeper = env.safekeepers[0]
    safekeeper.stop()
    safekeeper.start(f"--broker-endpoint=http://127.0.0.1:{env.broker_port}")

    def it_says_so() -> None:
        assert safekeeper.log_contains("must connect with TLS: give an https:// endpoint")

    wait_until(it_says_so, timeout_s=60)
