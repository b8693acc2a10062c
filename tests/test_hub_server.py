"""The Hub of the tests, by the real client: listings, names of commits, and a bad line."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from huggingface_hub import HfApi, hf_hub_download, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError

from tests.hub_server import HubServer

FILES = {"config.json": b"{}", "unet/model.safetensors": bytes(range(200))}


def test_a_listing_tells_sizes_and_digests(remote: HubServer) -> None:
    commit = remote.add_repo("acme/a", FILES)
    info = HfApi().model_info("acme/a", files_metadata=True)
    small, large = sorted(info.siblings, key=lambda file: file.rfilename)
    assert (info.sha, small.size, small.lfs, large.size) == (commit, 2, None, 200)
    assert small.blob_id == hashlib.sha1(b"blob 2\0{}").hexdigest()
    assert large.lfs.sha256 == hashlib.sha256(bytes(range(200))).hexdigest()
    entries = {entry.path: entry for entry in HfApi().list_repo_tree("acme/a", recursive=True)}
    assert set(entries) == set(FILES) and entries["unet/model.safetensors"].lfs.sha256 == large.lfs.sha256
    (entry,) = HfApi().get_paths_info("acme/a", ["config.json", "absent.json"])
    assert entry.blob_id == small.blob_id


def test_commits_go_by_many_names(remote: HubServer) -> None:
    first = remote.add_repo("acme/a", {"config.json": b"1"})
    second = remote.add_repo("acme/a", {"config.json": b"2"})
    third = remote.add_repo("acme/a", {"config.json": b"3"}, branch="refs/pr/1")
    remote.add_tag("acme/a", "v1", first)
    for revision, content in {None: "2", "main": "2", second: "2", "v1": "1", "refs/pr/1": "3", third: "3"}.items():
        assert Path(hf_hub_download("acme/a", "config.json", revision=revision)).read_text() == content
    assert HfApi().model_info("acme/a", revision="refs/pr/1").sha == third
    refs = HfApi().list_repo_refs("acme/a", include_pull_requests=True)
    found = [*refs.branches, *refs.tags, *refs.pull_requests]
    assert {ref.ref: ref.target_commit for ref in found} == {"refs/heads/main": second, "refs/tags/v1": first, "refs/pr/1": third}
    with pytest.raises(RevisionNotFoundError):
        HfApi().model_info("acme/a", revision="v2")


def test_a_folder_arrives_over_a_slow_line(remote: HubServer) -> None:
    remote.add_repo("acme/a", FILES)
    remote.inject(path="safetensors", method="GET", rate=2000.0)
    folder = Path(snapshot_download("acme/a"))
    assert {name: (folder / name).read_bytes() for name in FILES} == FILES


def test_faults_strike_everywhere(remote: HubServer) -> None:
    remote.add_repo("acme/a", FILES)
    remote.inject(path="api/models", status=429, retry_after=7)
    with pytest.raises(HfHubHTTPError) as caught:
        HfApi().model_info("acme/a")
    assert caught.value.response.headers["Retry-After"] == "7"
    assert HfApi().model_info("acme/a").id == "acme/a"


def test_only_some_may_read_and_fewer_write(remote: HubServer) -> None:
    remote.add_repo("acme/a", FILES, private=True, readers=["ann"], writers=["ben"])
    for user in ("ann", "ben", "cem"):
        remote.add_token(user, user)
    assert HfApi(token="ann").model_info("acme/a").private and HfApi(token="ben").model_info("acme/a").private
    with pytest.raises(RepositoryNotFoundError):
        HfApi(token="cem").model_info("acme/a")
    upload = {"path_or_fileobj": b"{1}", "path_in_repo": "config.json", "repo_id": "acme/a"}
    with pytest.raises(HfHubHTTPError, match="403"):
        HfApi(token="ann").upload_file(**upload)
    HfApi(token="ben").upload_file(**upload)
    assert remote.files("acme/a")["config.json"] == b"{1}"
