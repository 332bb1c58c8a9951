"""The fixture Hub's answers: every endpoint that huggingface_hub 2.x asks for a model, one method each."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, quote, unquote

from hub_repositories import LFS_ENDINGS, Blob, Refused, Repository, read_metadata


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    hub: Any  # the server that it belongs to
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else each answer waits 40 ms for the client to have seen its headers
    user: tuple[str, tuple[str, ...]] | None

    def log_message(self, *_: object) -> None:
        pass

    def _handle(self) -> None:
        self.body = self._read_body()
        path, _, query = self.path.partition("?")
        self.query = parse_qs(query)
        self.line, self.retry_after = f"{self.command} {unquote(self.path)}", 0
        with self.hub.lock:
            self.hub.requests.append(
                (self.command, unquote(self.path), {k.lower(): v for k, v in self.headers.items()})
            )
        if found := self.hub.take(self.line, "when"):
            found["do"]()
        if found := self.hub.take(self.line, "slow"):
            self.slow = found
            time.sleep(found["seconds"])
        else:
            self.slow = {"chunk": 0}
        if self.hub.take(self.line, "drop"):
            self.close_connection = True
            return
        try:
            if found := self.hub.take(self.line, "fail"):
                self.retry_after = found["retry_after"]
                raise Refused(found["status"], found["code"], found["message"] or "injected")
            self._who()
            with self.hub.lock:
                self._route(path)
        except Refused as e:
            extra = {"Retry-After": str(self.retry_after)} if self.retry_after else {}
            self._json({"error": e.message or e.code}, e.status, {**_error_headers(e), **extra})

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _handle

    def _read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _who(self) -> None:
        word, _, token = self.headers.get("Authorization", "").partition(" ")
        self.user = self.hub.users.get(token) if word == "Bearer" else None
        self.writes = token in self.hub.writers
        if word and self.user is None:
            raise Refused(401, "", "Invalid credentials in Authorization header")

    def _route(self, path: str) -> None:
        path = re.sub("^/api/spaces/([^/]+/[^/]+)", r"/api/models/\1.space", path)  # a repository of that name
        for method, pattern, answer in _ROUTES:
            match = re.fullmatch(pattern, path)
            if match and method == ("GET" if self.command == "HEAD" else self.command):
                answer(self, **{key: unquote(value or "") for key, value in match.groupdict().items()})
                return
        raise Refused(404, "", f"no such route: {self.command} {path}")

    def _send(self, body: bytes, status: int, headers: dict[str, str], length: int | None = None) -> None:
        if self.hub.take(self.line, "lose"):
            self.close_connection = True
            return
        self.send_response(status)
        for key, value in {"Content-Length": str(len(body) if length is None else length), **headers}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        step = self.slow["chunk"] or max(len(body), 1)
        try:
            for start in range(0, len(body), step):
                self.wfile.write(body[start : start + step])
                if self.slow["chunk"]:
                    self.wfile.flush()
                    time.sleep(self.slow["seconds"])
        except OSError:  # the client has gone
            self.close_connection = True
        if length is not None and length > len(body):
            self.close_connection = True

    def _json(self, content: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self._send(json.dumps(content).encode(), status, {"Content-Type": "application/json", **(headers or {})})

    def _pages(self, items: list[Any]) -> None:
        """Answer with one page of a list, and a Link to the next."""
        start, size = int(self.query.get("cursor", ["0"])[0]), self.hub.page
        headers = {}
        if start + size < len(items):
            path, _, query = self.path.partition("?")
            rest = "&".join(part for part in query.split("&") if part and not part.startswith("cursor="))
            query = f"{rest}&cursor={start + size}".lstrip("&")
            headers["Link"] = f'<{self.hub.url}{path}?{query}>; rel="next"'
        self._json(items[start : start + size], headers=headers)

    def _repo(self, id: str, *, write: bool = False, content: bool = False) -> Repository:
        """A repository that this user may see, write to, or take content from."""
        repo, name = self.hub.repositories.get(id), self.user[0] if self.user else ""
        owns = self.user is not None and id.partition("/")[0] in self.user[1]
        if repo is None or (repo.private and not owns):
            raise Refused(404 if self.user else 401, "RepoNotFound", "Repository not found")
        if write and self.user is None:
            raise Refused(401, "", "Invalid username or password.")
        if write and not (owns and self.writes):
            raise Refused(403, "", "You don't have the required permissions for this action")
        if content and repo.gated and not owns and (name, id) not in self.hub.granted:
            raise Refused(403 if self.user else 401, "GatedRepo", f"Access to model {id} is restricted")
        return repo

    def _given(self) -> dict[str, Any]:
        return json.loads(self.body or b"{}")

    # Who, and repositories as such.

    def whoami(self) -> None:
        if self.user is None:
            raise Refused(401, "", "Invalid username or password.")
        name, spaces = self.user
        orgs = [{"type": "org", "name": org, "roleInOrg": "write"} for org in spaces if org != name]
        role = "write" if self.writes else "read"
        access = {"type": "access_token", "accessToken": {"displayName": "test", "role": role}}
        self._json({"type": "user", "id": name, "name": name, "fullname": name, "orgs": orgs, "auth": access})

    def create_repo(self) -> None:
        given = self._given()
        if self.user is None:
            raise Refused(401, "", "Invalid username or password.")
        id = f"{given.get('organization') or self.user[0]}/{given['name']}"
        id += ".space" if given.get("type") == "space" else ""
        if id.partition("/")[0] not in self.user[1] or not self.writes:
            raise Refused(403, "", f'You don\'t have the rights to create a model under the namespace "{id}"')
        url = f"{self.hub.url}/{id}"
        if id in self.hub.repositories:
            self._json({"error": "You already created this model repo", "url": url}, 409)
            return
        private = given.get("private") is True or given.get("visibility") == "private"
        self.hub.create(id, private=private)
        self._json({"url": url, "name": id, "id": id})

    def delete_repo(self) -> None:
        given = self._given()
        id = f"{given.get('organization') or (self.user or ('',))[0]}/{given['name']}"
        self._repo(id, write=True)
        del self.hub.repositories[id]
        self._json({})

    def list_models(self) -> None:
        seen = list[dict[str, Any]]()
        wanted = [word for value in self.query.get("filter", []) for word in value.split(",")]
        for id in sorted(self.hub.repositories):
            try:
                repo = self._repo(id)
            except Refused:
                continue
            full = "full" in self.query or "cardData" in self.query
            info = repo.info("main", card=full)
            if not full:
                del info["siblings"]
            if self.query.get("author", [info["author"]])[0] != info["author"]:
                continue
            if self.query.get("search", [""])[0].lower() in id.lower() and set(wanted) <= set(info["tags"]):
                seen.append(info)
        limit = int(self.query.get("limit", [str(len(seen))])[0])
        self._pages(seen[:limit] if limit <= self.hub.page else seen)

    def settings(self, id: str) -> None:
        repo, given = self._repo(id, write=True), self._given()
        if "visibility" in given or "private" in given:
            repo.private = given.get("visibility") == "private" or given.get("private") is True
        repo.gated = given.get("gated", repo.gated)
        self._json({})

    def validate_yaml(self) -> None:
        _, problems = read_metadata(self._given()["content"])
        found = {"errors": [{"message": problem} for problem in problems], "warnings": []}
        self._json(found, 400 if problems else 200)

    # What a repository holds.

    def model_info(self, id: str, revision: str = "main") -> None:
        self._json(self._repo(id).info(revision, blobs="blobs" in self.query))

    def auth_check(self, id: str) -> None:
        self._repo(id, content=True)
        self._json({})

    def tree(self, id: str, revision: str, folder: str = "") -> None:
        commit = self._repo(id).commit_at(revision)
        inside = f"{folder.strip('/')}/" if folder.strip("/") else ""
        files = [(p, b) for p, b in sorted(commit.files.items()) if p.startswith(inside)]
        if inside and not files:
            raise Refused(404, "EntryNotFound", f"{folder} does not exist")
        found = {p: b.to_json(p) for p, b in files}
        folders = {p[: p.index("/", len(inside))] for p in found if "/" in p[len(inside) :]}
        if self.query.get("recursive", ["false"])[0].lower() not in ("true", "1"):
            found = {p: v for p, v in found.items() if "/" not in p[len(inside) :]}
        found |= {p: {"type": "directory", "path": p, "oid": hashlib.sha1(p.encode()).hexdigest(), "size": 0}
                  for p in folders}  # fmt: skip
        self._pages([found[p] for p in sorted(found)])

    def paths_info(self, id: str, revision: str) -> None:
        commit = self._repo(id).commit_at(revision)
        wanted = parse_qs(self.body.decode()).get("paths", [])
        self._json([commit.files[p].to_json(p) for p in wanted if p in commit.files])

    def refs(self, id: str) -> None:
        repo = self._repo(id)
        kinds = {"branches": ("heads", repo.branches), "tags": ("tags", repo.tags), "converts": ("converts", {})}
        self._json({
            kind: [{"name": n, "ref": f"refs/{word}/{n}", "targetCommit": c.oid} for n, c in these.items()]
            for kind, (word, these) in kinds.items()
        })  # fmt: skip

    def commits(self, id: str, revision: str) -> None:
        self._pages([
            {"id": c.oid, "title": c.title, "message": c.message, "date": c.date, "authors": [{"user": "ada"}]}
            for c in self._repo(id).commit_at(revision).history()
        ])  # fmt: skip

    def resolve(self, id: str, revision: str, file: str) -> None:
        commit = self._repo(id, content=True).commit_at(revision)
        blob, where = commit.files.get(file), {"X-Repo-Commit": commit.oid}
        if blob is None:
            e = Refused(404, "EntryNotFound", "Entry not found")
            self._json({"error": e.message}, 404, {**_error_headers(e), **where})
            return
        found = self.hub.take(self.line, "stale") if self.command == "HEAD" else None
        etag = found["etag"] if found else blob.etag
        headers = {**where, "ETag": f'"{etag}"', "Accept-Ranges": "bytes", "Content-Type": "application/octet-stream"}
        if blob.lfs:
            headers |= {"X-Linked-Etag": f'"{etag}"', "X-Linked-Size": str(blob.size)}
        body, status, start = blob.content, 200, 0
        if span := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
            start, end = int(span[1]), min(int(span[2] or blob.size), blob.size - 1)
            if start >= blob.size:
                self._send(b"", 416, {**headers, "Content-Range": f"bytes */{blob.size}"})
                return
            body, status = blob.content[start : end + 1], 206
            headers["Content-Range"] = f"bytes {start}-{end}/{blob.size}"
        length = None
        if self.command != "HEAD" and (found := self.hub.take(self.line, "cut", "flip", "short")):
            if found["kind"] == "cut":
                body, length = body[: found["after"]], len(body)
            elif found["kind"] == "short":
                body = body[: max(len(body) - found["by"], 0)]
            elif start <= (at := found["at"]) < start + len(body):
                body = body[: at - start] + bytes([body[at - start] ^ 0x41]) + body[at - start + 1 :]
        self.hub.lock.release()  # a slow answer keeps nobody else waiting
        try:
            self._send(body, status, headers, length)
        finally:
            self.hub.lock.acquire()

    # Changes.

    def preupload(self, id: str, revision: str) -> None:
        head, answers = self._repo(id, write=True).commit_at(revision), []
        for file in self._given()["files"]:
            large = file["path"].endswith(LFS_ENDINGS) or file["size"] > 10 * 2**20
            old = head.files.get(file["path"])
            oid = {"oid": old.etag} if old else {}
            answers.append(
                {"path": file["path"], "uploadMode": "lfs" if large else "regular", "shouldIgnore": False, **oid}
            )
        self._json({"files": answers, "commitOid": head.oid})

    def lfs_batch(self, id: str) -> None:
        self._repo(id, write=True)
        answers = []
        for item in self._given()["objects"]:
            answer = {"oid": item["oid"], "size": item["size"]}
            if item["oid"] not in self.hub.large:
                href = f"{self.hub.url}/lfs-storage/{item['oid']}"
                verify = f"{self.hub.url}/{quote(id)}.git/info/lfs/verify"
                answer["actions"] = {"upload": {"href": href, "header": {}}, "verify": {"href": verify, "header": {}}}
            answers.append(answer)
        self._json({"transfer": "basic", "objects": answers})

    def lfs_put(self, oid: str) -> None:
        if hashlib.sha256(self.body).hexdigest() != oid:
            raise Refused(400, "", "the content has another sha256")
        self.hub.large[oid] = self.body
        self._send(b"", 200, {})

    def lfs_verify(self, id: str) -> None:
        self._repo(id, write=True)
        given = self._given()
        if len(self.hub.large.get(given["oid"], b"")) != given["size"]:
            raise Refused(404, "", "there is no such object of this size")
        self._json({})

    def commit(self, id: str, revision: str) -> None:
        repo = self._repo(id, write=True)
        if revision not in repo.branches:
            raise Refused(404, "RevisionNotFound", f"no branch {revision}")
        head, changes, header = repo.branches[revision], dict[str, Blob | None](), dict[str, Any]()
        for line in self.body.splitlines():
            item = json.loads(line)
            key, value = item["key"], item["value"]
            if key == "header":
                header = value
            elif key == "file":
                changes[value["path"]] = Blob(base64.b64decode(value["content"]), lfs=False)
            elif key == "lfsFile":
                if value["oid"] not in self.hub.large:
                    raise Refused(400, "", f"LFS object {value['oid']} was not uploaded")
                changes[value["path"]] = Blob(self.hub.large[value["oid"]], lfs=True)
            elif key == "deletedFile":
                changes[value["path"]] = None
            elif key == "deletedFolder":
                changes |= dict.fromkeys((p for p in head.files if p.startswith(value["path"].rstrip("/") + "/")), None)
            else:
                raise Refused(400, "", f"unknown operation {key}")
        if header.get("parentCommit", head.oid) != head.oid:
            raise Refused(412, "", "A commit has happened since. Please refresh and try again.")
        new = repo.add(changes, branch=revision, title=header.get("summary", ""))
        url = f"{self.hub.url}/{id}/commit/{new.oid}"
        self._json({"success": True, "commitOid": new.oid, "commitUrl": url, "hookOutput": ""})

    def tag(self, id: str, revision: str) -> None:
        repo, name = self._repo(id, write=True), self._given()["tag"]
        if name in repo.tags:
            raise Refused(409, "", f"Tag {name} already exists")
        repo.tags[name] = repo.commit_at(revision)
        self._json({})

    def delete_tag(self, id: str, tag: str) -> None:
        if self._repo(id, write=True).tags.pop(tag, None) is None:
            raise Refused(404, "RevisionNotFound", f"there is no tag {tag}")
        self._json({})

    def branch(self, id: str, branch: str) -> None:
        repo = self._repo(id, write=True)
        if branch in repo.branches:
            raise Refused(409, "", f"Branch {branch} already exists")
        repo.branches[branch] = repo.commit_at(self._given().get("startingPoint", "main"))
        self._json({})

    def delete_branch(self, id: str, branch: str) -> None:
        if branch == "main" or self._repo(id, write=True).branches.pop(branch, None) is None:
            raise Refused(404, "RevisionNotFound", f"there is no branch {branch} to delete")
        self._json({})


def _error_headers(e: Refused) -> dict[str, str]:
    return {key: v for key, v in (("X-Error-Code", e.code), ("X-Error-Message", e.message)) if v}


_ID, _REVISION = r"(?P<id>[^/]+/[^/]+)", r"(?P<revision>[^/]+)"
_MODEL = f"/api/models/{_ID}"
_ROUTES: list[tuple[str, str, Callable[..., None]]] = [
    ("GET", "/api/whoami-v2", Handler.whoami),
    ("POST", "/api/repos/create", Handler.create_repo),
    ("DELETE", "/api/repos/delete", Handler.delete_repo),
    ("POST", "/api/validate-yaml", Handler.validate_yaml),
    ("GET", "/api/models", Handler.list_models),
    ("GET", _MODEL, Handler.model_info),
    ("GET", f"{_MODEL}/revision/{_REVISION}", Handler.model_info),
    ("GET", f"{_MODEL}/auth-check", Handler.auth_check),
    ("GET", f"{_MODEL}/tree/{_REVISION}(?P<folder>/.*)?", Handler.tree),
    ("POST", f"{_MODEL}/paths-info/{_REVISION}", Handler.paths_info),
    ("GET", f"{_MODEL}/refs", Handler.refs),
    ("GET", f"{_MODEL}/commits/{_REVISION}", Handler.commits),
    ("PUT", f"{_MODEL}/settings", Handler.settings),
    ("POST", f"{_MODEL}/preupload/{_REVISION}", Handler.preupload),
    ("POST", f"{_MODEL}/commit/{_REVISION}", Handler.commit),
    ("POST", f"{_MODEL}/tag/{_REVISION}", Handler.tag),
    ("DELETE", f"{_MODEL}/tag/(?P<tag>[^/]+)", Handler.delete_tag),
    ("POST", f"{_MODEL}/branch/(?P<branch>[^/]+)", Handler.branch),
    ("DELETE", f"{_MODEL}/branch/(?P<branch>[^/]+)", Handler.delete_branch),
    ("POST", f"/{_ID}\\.git/info/lfs/objects/batch", Handler.lfs_batch),
    ("POST", f"/{_ID}\\.git/info/lfs/verify", Handler.lfs_verify),
    ("PUT", "/lfs-storage/(?P<oid>[0-9a-f]{64})", Handler.lfs_put),
    ("GET", f"/{_ID}/resolve/{_REVISION}/(?P<file>.+)", Handler.resolve),
]
