"""kill -9 at every failpoint of the life of tenants and timelines: a restart finds no half of
anything.

Many operations are held up, each at a failpoint and on a timeline or tenant of its own; then the
process is killed once. What a restart makes of each of them is looked at one by one.
"""

from __future__ import annotations

import json
import re
import threading
from dataclasses import dataclass
from typing import Any

import pytest
import requests
from fixtures.common import new_id, wait_until
from fixtures.neon_fixtures import NeonEnv, NeonEnvBuilder, pid_is_alive
from fixtures.pageserver_http import ApiException, PageserverHttp
from fixtures.tenant_copies import attach, copy_tenant, timelines_dir

TENANT_CONF = {"compaction_period": "0s"}


@pytest.fixture
def env(neon_env_builder: NeonEnvBuilder) -> NeonEnv:
    """A timeline in remote storage, as bootstrap leaves it; nothing that computes."""
    neon_env_builder.tenant_config = dict(TENANT_CONF)
    neon_env_builder.num_safekeepers = 1
    return neon_env_builder.init_start()


def attached_copies(env: NeonEnv, names: tuple[str, ...]) -> dict[str, str]:
    """A tenant for each failpoint."""
    http = env.pageserver.http()
    tenants = {name: copy_tenant(env) for name in names}
    for tenant in tenants.values():
        attach(http, tenant, 2, TENANT_CONF)
    for tenant in tenants.values():
        http.timeline_detail(tenant, env.initial_timeline)
    return tenants


class Parking:
    """Operations that are held up at failpoints until the process is killed."""

    def __init__(self, env: NeonEnv):
        self.env = env
        self.armed: set[str] = set()

    def arrivals(self, failpoint: str) -> int:
        text = self.env.pageserver.log_file.read_text(errors="replace")
        return len(re.findall(rf'failpoint "?{failpoint}"?(?![-\w])', text))

    def arm(self, failpoint: str, action: str) -> None:
        # Arming it again would let go whoever is held there.
        if failpoint not in self.armed:
            self.env.pageserver.http().configure_failpoints((failpoint, action))
            self.armed.add(failpoint)

    def park(
        self, failpoint: str, call: str, *arguments: Any,
        action: str = "pause", **fields: Any,
    ) -> None:
        """Starts a call, and waits until it has come as far as the failpoint."""
        before = self.arrivals(failpoint)
        self.arm(failpoint, action)
        http = PageserverHttp(self.env.pageserver.http_port, retry_unavailable=False)

        def attempt() -> None:
            try:
                getattr(http, call)(*arguments, **fields)
            except (ApiException, requests.RequestException):
                # The process has gone away under it.
                pass

        threading.Thread(target=attempt, daemon=True).start()

        def there() -> None:
            assert self.arrivals(failpoint) > before, failpoint

        wait_until(there, timeout_s=60, interval_s=0.02)

    def kill(self) -> None:
        """Ends the process in the middle of all of them, and starts it again."""
        self.env.pageserver.kill()
        self.env.pageserver.start_alone()


def check_consistent(env: NeonEnv, tenant: str) -> None:
    """The newest indexes name what exists, nothing half-made lies about, and the data is served."""
    for directory in timelines_dir(env, tenant).glob("*"):
        indexes = list(directory.glob("index_part.json-*"))
        if indexes:
            for name, metadata in json.loads(max(indexes).read_text())["layer_metadata"].items():
                stored = directory / f"{name}-{metadata['generation']:08x}"
                assert stored.stat().st_size == metadata["file_size"], stored
    http = env.pageserver.http()
    assert http.tenant_status(tenant)["state"]["slug"] == "Active"
    # Computed from scratch: reads the catalogs.
    timelines = http.call(
        "GET", f"/v1/tenant/{tenant}/timeline", params={"include-non-incremental-logical-size": "true"}
    )
    for timeline in timelines:
        assert timeline["current_logical_size_non_incremental"] > 2**20
    local = env.pageserver.tenant_dir(tenant) / "timelines"
    assert {path.name for path in local.glob("*")} == {t["timeline_id"] for t in timelines}

    def clean() -> None:
        # What is being written or downloaded at the moment has such a name, but not for long.
        assert not list(local.glob("*/*___temp")) and not list(local.glob("*/*.temp_download"))

    wait_until(clean, interval_s=0.05)


# From the last to the first: an operation passes those that are not armed yet.
CREATION_FAILPOINTS = (
    ("creation", "before-upload-index-pausable"),
    ("branch", "before-upload-index-pausable"),
    ("creation", "before-upload-layer-pausable"),
    ("creation", "before-checkpoint-new-timeline"),
    ("creation", "after-timeline-dir-creation"),
    ("branch", "after-timeline-dir-creation"),
    ("creation", "before-initdb-upload"),
    ("creation", "timeline-creation-after-uninit"),
)
# In the order in which an operation passes them.
DELETION_FAILPOINTS = (
    "timeline-delete-before-index-deleted-at",
    "persist_deleted_index_part",
    "timeline-delete-before-schedule",
    "timeline-delete-before-rm",
    "timeline-delete-after-rm",
    "timeline-delete-before-index-delete",
    "timeline-delete-after-index-delete",
    "in_progress_delete",
)


@dataclass
class Creation:
    """A timeline that is being made when the process dies."""

    tenant: str
    timeline: str
    fields: dict[str, Any]


def test_timeline_operations_interrupted(env: NeonEnv) -> None:
    parking = Parking(env)
    deleting = attached_copies(env, DELETION_FAILPOINTS)
    branching = attached_copies(env, tuple(point for kind, point in CREATION_FAILPOINTS if kind == "branch"))
    for failpoint in reversed(DELETION_FAILPOINTS):
        parking.park(failpoint, "timeline_delete", deleting[failpoint], env.initial_timeline)
    creations = [
        park_branch(env, parking, failpoint, branching[failpoint])
        if kind == "branch" else park_creation(env, parking, failpoint)
        for kind, failpoint in CREATION_FAILPOINTS
    ]
    parking.kill()
    for creation in creations:
        check_creation(env, creation)
    for tenant in [env.initial_tenant, *branching.values()]:
        check_consistent(env, tenant)
    for tenant in deleting.values():
        check_deletion(env, tenant)
        check_consistent(env, tenant)


def park_creation(env: NeonEnv, parking: Parking, failpoint: str) -> Creation:
    fields = {"pg_version": env.pg_version}
    if failpoint != "before-initdb-upload":
        # From an archive: as good as a run of initdb, and much quicker.
        fields["existing_initdb_timeline_id"] = env.initial_timeline
    creation = Creation(env.initial_tenant, new_id(), fields)
    parking.park(failpoint, "timeline_create", env.initial_tenant, creation.timeline, **fields)
    return creation


def park_branch(env: NeonEnv, parking: Parking, failpoint: str, tenant: str) -> Creation:
    fields = {"pg_version": env.pg_version, "ancestor_timeline_id": env.initial_timeline}
    creation = Creation(tenant, new_id(), fields)
    parking.park(failpoint, "timeline_create", tenant, creation.timeline, **fields)
    return creation


def check_creation(env: NeonEnv, creation: Creation) -> None:
    """A repetition of the request succeeds, whatever the first one left."""
    http = env.pageserver.http()
    created = http.timeline_create(creation.tenant, creation.timeline, **creation.fields)
    assert created["state"] == "Active"
    assert created["ancestor_timeline_id"] == creation.fields.get("ancestor_timeline_id")


def check_deletion(env: NeonEnv, tenant: str) -> None:
    http = env.pageserver.http()
    directory = timelines_dir(env, tenant) / env.initial_timeline
    indexes = list(directory.glob("index_part.json-*"))
    if indexes and "deleted_at" not in max(indexes).read_text():
        # Nothing was promised: it is still there, and can be deleted.
        http.timeline_detail(tenant, env.initial_timeline)
        http.timeline_delete(tenant, env.initial_timeline)

    def nothing_left() -> None:
        with pytest.raises(ApiException) as gone:
            http.timeline_detail(tenant, env.initial_timeline)
        assert gone.value.status_code == 404
        assert list(directory.glob("*")) == []

    wait_until(nothing_left, interval_s=0.05)


ATTACH_FAILPOINTS = (
    "before-attaching-tenant",
    "attach-before-activate",
)
DOWNLOAD_FAILPOINTS = (
    "before-downloading-layer-stream-pausable",
    "remote-storage-download-pre-rename",
)
DETACH_FAILPOINTS = (
    "tenant-detach-before-rename",
    "tenant-detach-after-rename",
)
TENANT_DELETION_FAILPOINTS = (
    "tenant-delete-before-remote",
    "tenant-delete-after-remote",
)
DETACHED: dict[str, Any] = {"mode": "Detached", "tenant_conf": {}}


def test_tenant_operations_interrupted(env: NeonEnv) -> None:
    parking = Parking(env)
    downloading = attached_copies(env, DOWNLOAD_FAILPOINTS)
    detaching = attached_copies(env, DETACH_FAILPOINTS)
    deleting = attached_copies(env, TENANT_DELETION_FAILPOINTS)
    attaching = {failpoint: copy_tenant(env) for failpoint in ATTACH_FAILPOINTS}
    park_downloads(env, parking, downloading)
    # A deletion detaches first.
    for failpoint in reversed(TENANT_DELETION_FAILPOINTS):
        parking.park(failpoint, "call", "DELETE", f"/v1/tenant/{deleting[failpoint]}")
    for failpoint in reversed(DETACH_FAILPOINTS):
        parking.park(failpoint, "location_config", detaching[failpoint], DETACHED)
    for failpoint in reversed(ATTACH_FAILPOINTS):
        body = {"mode": "AttachedSingle", "generation": 3, "tenant_conf": TENANT_CONF}
        action = "return(600000)" if failpoint == "before-attaching-tenant" else "pause"
        parking.park(failpoint, "location_config", attaching[failpoint], body, action=action)
    parking.kill()
    for tenant in [env.initial_tenant, *downloading.values()]:
        check_consistent(env, tenant)
    for tenant in attaching.values():
        check_consistent(env, tenant)
        # The new generation was written down before it was used.
        assert env.pageserver.http().tenant_status(tenant)["generation"] == 3
    for tenant in detaching.values():
        check_detach(env, tenant)
    for tenant in deleting.values():
        check_tenant_deletion(env, tenant)
    local = env.pageserver.workdir / "tenants"

    def cleaned() -> None:
        assert not list(local.glob("*___temp"))

    wait_until(cleaned, interval_s=0.05)


def park_downloads(env: NeonEnv, parking: Parking, tenants: dict[str, str]) -> None:
    http = env.pageserver.http()
    for failpoint in reversed(DOWNLOAD_FAILPOINTS):
        tenant = tenants[failpoint]
        layer = http.layer_map(tenant, env.initial_timeline)["historic_layers"][0]
        name = layer["layer_file_name"]
        path = f"/v1/tenant/{tenant}/timeline/{env.initial_timeline}/layer/{name}"
        if not layer["remote"]:
            http.call("DELETE", path)
        parking.park(failpoint, "call", "GET", path)


def check_detach(env: NeonEnv, tenant: str) -> None:
    http = env.pageserver.http()
    http.location_config(tenant, DETACHED)
    assert not env.pageserver.tenant_dir(tenant).exists()
    attach(http, tenant, 3, TENANT_CONF)
    check_consistent(env, tenant)


def check_tenant_deletion(env: NeonEnv, tenant: str) -> None:
    http = env.pageserver.http()
    for _ in range(2):
        http.call("DELETE", f"/v1/tenant/{tenant}")
        assert list(env.remote_dir.glob(f"tenants/{tenant}*/**/*.json*")) == []
    with pytest.raises(ApiException) as gone:
        http.tenant_status(tenant)
    assert gone.value.status_code == 404


def test_a_generation_that_cannot_be_recorded_ends_the_process(env: NeonEnv) -> None:
    http, pid = env.pageserver.http(), env.pageserver.pid
    generation = http.tenant_status(env.initial_tenant)["generation"]
    http.configure_failpoints(("tenant-config-before-write", "return"))
    with pytest.raises(requests.RequestException):
        attach(http, env.initial_tenant, generation + 1, TENANT_CONF)

    def ended() -> None:
        assert not pid_is_alive(pid)

    wait_until(ended)
    env.pageserver.start_alone()
    assert http.tenant_status(env.initial_tenant)["generation"] == generation
    check_consistent(env, env.initial_tenant)
