"""The three services, as far as comments, statuses and pictures go: what they remember and answer."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any
from urllib.parse import quote, unquote, unquote_plus, urlencode

from tests.e2e.forges import tools
from tests.e2e.forges.front import Reply, Request
from tests.e2e.forges.rows import Comment, Pull, Release, Repository

WHEN = "2026-01-01T00:00:00Z"
# Whose tokens there are. `actions` and `bot` are jobs' own; `reader` may not write; `other` is somebody else.
TOKENS = {
    "token-actions": "github-actions[bot]",
    "token-bot": "project_1_bot",
    "token-ada": "ada",
    "token-other": "mallory",
    "token-reader": "reader",
}


class _Memory:
    prefix = ""
    public = ""

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}

    def make(self, name: str) -> Repository:
        """A new repository."""
        return self.repositories.setdefault(name, Repository())

    def _page(self, repository: Repository, request: Request, size: str) -> tuple[list[Comment], int | None]:
        """The comments of the page that was asked for, and the next one's number."""
        per = min(int(request.query.get(size, 20)), repository.page)
        number = int(request.query.get("page", 1))
        rows = repository.comments[(number - 1) * per : number * per]
        return rows, number + 1 if number * per < len(repository.comments) else None


class GitHub(_Memory):
    """GitHub: a workflow's token may not ask who it is."""

    def answer(self, request: Request, base: str) -> Reply:
        """See `Memory`."""
        path = request.path.partition("?")[0]
        who = TOKENS.get(request.token)
        if who is None:
            return self._error(401, "Bad credentials")
        if path == "/user":
            if who.endswith("[bot]"):
                return self._error(403, "Resource not accessible by integration")
            return Reply(200, _user(base, who) | _PUBLIC)
        match = re.fullmatch(r"/repos/([^/]+/[^/]+)/(.*)", path)
        repository = self.repositories.get(match[1]) if match else None
        if match is None or repository is None:
            return self._error(404, "Not Found")
        return self._inside(repository, match[1], match[2], request, base, who)

    def _inside(
        self, repository: Repository, name: str, rest: str, request: Request, base: str, who: str
    ) -> Reply:
        here = f"{base}/repos/{name}"
        if request.method != "GET" and who == "reader":
            return self._error(403, "Resource not accessible by integration")
        if rest == "issues/7/comments" and request.method == "GET":
            rows, following = self._page(repository, request, "per_page")
            query = urlencode({**request.query, "page": following})
            link = {"Link": f'<{here}/issues/7/comments?{query}>; rel="next", <{here}>; rel="last"'}
            return Reply(200, [self._shown(c, here, base) for c in rows], link if following else {})
        if rest == "issues/7/comments":
            if len(request.data["body"]) > min(65536, repository.longest):
                return self._error(422, "Validation Failed: body is too long (maximum is 65536 characters)")
            return Reply(201, self._shown(repository.add(who, request.data["body"]), here, base))
        found = re.fullmatch(r"issues/comments/(\d+)", rest)
        if found and request.method == "PATCH":
            # Whoever may write to the repository may change anybody's comment.
            comment = next((c for c in repository.comments if c.id == int(found[1])), None)
            if comment is None:
                return self._error(404, "Not Found")
            comment.body = request.data["body"]
            return Reply(200, self._shown(comment, here, base))
        if rest == "pulls" and request.method == "GET":
            owner, _, branch = unquote(request.query["head"]).partition(":")
            assert owner == name.partition("/")[0]
            rows = repository.proposed(branch, request.query["base"])
            return Reply(200, [self._pull(p, "pull-request-simple-items", here) for p in rows])
        if rest == "pulls":
            data = request.data
            made = repository.propose(data["head"], data["base"], data["title"], data["body"])
            return Reply(201, self._pull(made, "pull-request", here))
        found = re.fullmatch(r"pulls/(\d+)", rest)
        if found and request.method == "PATCH":
            changed = repository.edit(found[1], request.data["title"], request.data["body"])
            return Reply(200, self._pull(changed, "pull-request", here))
        if rest.startswith("releases"):
            return self._releases(repository, name, rest, request, here)
        found = re.fullmatch(r"statuses/([0-9a-f]{40})", rest)
        if found and request.method == "POST":
            if "statuses" in repository.forbidden:
                return self._error(403, "Resource not accessible by integration")
            repository.statuses.append({**request.data, "sha": found[1]})
            shown = {"id": 1, "node_id": "S_1", "url": here, "avatar_url": None, "target_url": None}
            dates = {"created_at": WHEN, "updated_at": WHEN, "creator": _user(base, who)}
            return Reply(201, shown | dates | request.data)
        return self._error(404, "Not Found")

    def _releases(self, repository: Repository, name: str, rest: str, request: Request, here: str) -> Reply:
        tagged = re.fullmatch(r"releases/tags/(.+)", rest)
        one = re.fullmatch(r"releases/(\d+)", rest)
        files = re.fullmatch(r"releases/(\d+)/assets", rest)
        gone = re.fullmatch(r"releases/assets/(\d+)", rest)
        if rest == "releases" and request.method == "POST":
            made = Release(len(repository.releases) + 1, request.data["tag_name"], request.data["body"])
            repository.releases.append(made)
            return Reply(201, self._release(made, name))
        found = repository.release(tag=unquote(tagged[1])) if tagged else None
        found = repository.release(id=int((one or files)[1])) if one or files else found  # type: ignore[index]
        if gone and request.method == "DELETE":
            number = int(gone[1])
            owner = repository.releases[number // 1000 - 1]
            del owner.files[sorted(owner.files)[number % 1000]]
            return Reply(204)
        if found is None:
            return self._error(404, "Not Found")
        if one and request.method == "PATCH":
            found.text = request.data["body"]
        if files and request.method == "POST":
            title = unquote(request.query["name"])
            if title in found.files:
                return self._error(422, "Validation Failed: already_exists")
            found.files[title] = request.raw
            return Reply(201, self._asset(title, 1))
        return Reply(200, self._release(found, name))

    def _release(self, release: Release, name: str) -> dict[str, Any]:
        shown = _example("release")
        urls = {"upload_url": f"{self.public}/repos/{name}/releases/{release.id}/assets{{?name,label}}"}
        urls["html_url"] = f"https://github.com/{name}/releases/tag/{release.tag}"
        assets = [self._asset(n, release.id * 1000 + i) for i, n in enumerate(sorted(release.files))]
        more = {"id": release.id, "tag_name": release.tag, "body": release.text, "assets": assets}
        return shown | urls | more

    def _asset(self, title: str, number: int) -> dict[str, Any]:
        return _example("release-asset") | {"id": number, "name": title}

    def _shown(self, comment: Comment, here: str, base: str) -> dict[str, Any]:
        return {
            "id": comment.id,
            "node_id": f"IC_{comment.id}",
            "url": f"{here}/issues/comments/{comment.id}",
            "html_url": f"{here}/pull/7#issuecomment-{comment.id}",
            "issue_url": f"{here}/issues/7",
            "body": comment.body,
            "user": _user(base, comment.author),
            "author_association": "NONE",
            "created_at": WHEN,
            "updated_at": WHEN,
        }

    def _pull(self, pull: Pull, example: str, here: str) -> dict[str, Any]:
        """GitHub's own example of one, with these words in it."""
        shown = _example(example)
        shown["requested_teams"] = []  # those in the example lack what the description demands
        url = f"{here}/pull/{pull.number}"
        return shown | {"number": pull.number, "title": pull.title, "body": pull.body, "html_url": url}

    def _error(self, status: int, message: str) -> Reply:
        return Reply(status, {"message": message, "documentation_url": "https://docs", "status": str(status)})


def _example(name: str) -> dict[str, Any]:
    """GitHub's own example of something."""
    whole = json.loads(tools.description("github").read_text())
    shown = whole["components"]["examples"][name]["value"]
    return dict(shown[0] if isinstance(shown, list) else shown)


def _user(base: str, login: str) -> dict[str, Any]:
    names = ("url", "html_url", "followers_url", "following_url", "gists_url", "starred_url", "repos_url")
    names += ("subscriptions_url", "organizations_url", "events_url", "received_events_url", "avatar_url")
    return dict.fromkeys(names, f"{base}/users/{quote(login)}") | {
        "login": login,
        "id": 1,
        "node_id": "U_1",
        "gravatar_id": "",
        "type": "Bot" if login.endswith("[bot]") else "User",
        "site_admin": False,
    }


_PUBLIC: dict[str, Any] = {
    **dict.fromkeys(("bio", "blog", "company", "email", "hireable", "location", "name")),
    **dict.fromkeys(("followers", "following", "public_gists", "public_repos"), 0),
    "created_at": WHEN,
    "updated_at": WHEN,
}


class GitLab(_Memory):
    """GitLab: a project's token is a user; a job's own can only read."""

    prefix = "/api/v4"

    def answer(self, request: Request, base: str) -> Reply:
        """See `Memory`."""
        path = request.path.partition("?")[0]
        who = TOKENS.get(request.token)
        if who is None:
            return Reply(401, {"message": "401 Unauthorized"})
        if path == "/user":
            return Reply(200, self._user(who))
        match = re.fullmatch(r"/projects/([^/]+)/(.*)", path)
        repository = self.repositories.get(unquote(match[1])) if match else None
        if match is None or repository is None:
            return Reply(404, {"message": "404 Project Not Found"})
        if request.method != "GET" and who == "reader":
            return Reply(403, {"message": "403 Forbidden"})
        return self._inside(repository, match[2], request, who)

    def _inside(self, repository: Repository, rest: str, request: Request, who: str) -> Reply:
        if rest == "merge_requests/7/notes" and request.method == "GET":
            rows, following = self._page(repository, request, "per_page")
            return Reply(200, [self._shown(c) for c in rows], {"x-next-page": str(following or "")})
        if rest == "merge_requests/7/notes":
            if len(request.data["body"]) > repository.longest:
                return Reply(400, {"message": {"note": ["is too long (maximum is 10000 characters)"]}})
            return Reply(201, self._shown(repository.add(who, request.data["body"])))
        found = re.fullmatch(r"merge_requests/7/notes/(\d+)", rest)
        if found and request.method == "PUT":
            comment = next((c for c in repository.comments if c.id == int(found[1])), None)
            if comment is None:
                return Reply(404, {"message": "404 Note Not Found"})
            if comment.author != who:
                return Reply(403, {"message": "403 Forbidden"})
            comment.body = request.data["body"]
            return Reply(200, self._shown(comment))
        if rest == "merge_requests" and request.method == "GET":
            rows = repository.proposed(
                unquote(request.query["source_branch"]), request.query["target_branch"]
            )
            return Reply(200, [self._pull(p) for p in rows])
        if rest == "merge_requests":
            data = request.data
            made = (data["source_branch"], data["target_branch"], data["title"], data["description"])
            return Reply(201, self._pull(repository.propose(*made)))
        found = re.fullmatch(r"merge_requests/(\d+)", rest)
        if found and request.method == "PUT":
            changed = repository.edit(found[1], request.data["title"], request.data["description"])
            return Reply(200, self._pull(changed))
        if rest.startswith(("releases", "packages/")):
            return self._releases(repository, rest, request)
        if rest == "uploads":
            if "files" in repository.forbidden:
                return Reply(403, {"message": "403 Forbidden"})
            ((name, data),) = _form(request).items()
            url = f"/uploads/{hashlib.md5(data).hexdigest()}/{name}"
            repository.files[url] = data
            shown = {"id": 1, "alt": name, "url": url, "full_path": f"/-/project/1{url}"}
            return Reply(201, shown | {"markdown": f"![{name}]({url})"})
        found = re.fullmatch(r"statuses/([0-9a-f]{40})", rest)
        if found and request.method == "POST":
            repository.statuses.append({**request.data, "sha": found[1]})
            shown = {"id": 1, "sha": found[1], "ref": "x", "status": request.data["state"], "name": "default"}
            shown |= {"target_url": None, "description": None, "created_at": WHEN, "author": self._user(who)}
            return Reply(201, shown | {k: v for k, v in request.data.items() if k != "state"})
        return Reply(404, {"message": "404 Not Found"})

    def _releases(self, repository: Repository, rest: str, request: Request) -> Reply:
        if rest.startswith("packages/generic/"):
            repository.files[rest] = request.raw
            return Reply(201, {"message": "201 Created"})
        links = re.fullmatch(r"releases/([^/]+)/assets/links", rest)
        one = re.fullmatch(r"releases/([^/]+)", rest)
        if rest == "releases" and request.method == "POST":
            data = request.data
            made = Release(len(repository.releases) + 1, data["tag_name"], data["description"])
            made.files = {k["name"]: k["url"].encode() for k in data["assets"]["links"]}
            repository.releases.append(made)
            return Reply(201, self._release(made))
        found = repository.release(tag=unquote((one or links)[1])) if one or links else None  # type: ignore[index]
        if found is None:
            return Reply(404, {"message": "404 Not Found"})
        if links:
            found.files[request.data["name"]] = request.data["url"].encode()
            return Reply(201, {"id": 1, "name": request.data["name"], "url": request.data["url"]})
        if request.method == "PUT":
            found.text = request.data["description"]
        return Reply(200, self._release(found))

    def _release(self, release: Release) -> dict[str, Any]:
        links = [{"id": 1, "name": n, "url": u.decode()} for n, u in release.files.items()]
        url = f"https://gitlab.com/octo/churn/-/releases/{quote(release.tag, safe='')}"
        shown = {"tag_name": release.tag, "name": release.tag, "description": release.text}
        return {**shown, "assets": {"count": len(links), "links": links}, "_links": {"self": url}}

    def _pull(self, pull: Pull) -> dict[str, Any]:
        return {
            "id": 100 + pull.number,
            "iid": pull.number,
            "project_id": 1,
            "title": pull.title,
            "description": pull.body,
            "state": "opened",
            "source_branch": pull.branch,
            "target_branch": pull.base,
            "web_url": f"https://gitlab.com/x/-/merge_requests/{pull.number}",
        }

    def _user(self, name: str) -> dict[str, Any]:
        return {"id": 1, "username": name, "name": name, "state": "active", "web_url": f"https://x/{name}"}

    def _shown(self, comment: Comment) -> dict[str, Any]:
        return {
            "id": comment.id,
            "body": comment.body,
            "author": self._user(comment.author),
            "created_at": WHEN,
            "updated_at": WHEN,
            "system": False,
            "noteable_id": 70,
            "noteable_iid": 7,
            "noteable_type": "MergeRequest",
            "project_id": 1,
            **comment.extra,
        }


class Bitbucket(_Memory):
    """Bitbucket: nobody can change another's comment, and a repository's token may not ask who it is."""

    prefix = "/2.0"

    def answer(self, request: Request, base: str) -> Reply:
        """See `Memory`."""
        path = request.path.partition("?")[0]
        who = TOKENS.get(request.token)
        if who is None:
            return self._error(401, "Token is invalid, expired, or not supported for this endpoint.")
        match = re.fullmatch(r"/repositories/([^/]+/[^/]+)/(.*)", path)
        repository = self.repositories.get(match[1]) if match else None
        if match is None or repository is None:
            return self._error(404, "Repository not found")
        if request.method != "GET" and who == "reader":
            return self._error(403, "Your credentials lack one or more required privilege scopes.")
        return self._inside(repository, f"{base}{self.prefix}{path}", match[2], request, who)

    def _inside(self, repository: Repository, here: str, rest: str, request: Request, who: str) -> Reply:
        if rest == "pullrequests/7/comments" and request.method == "GET":
            rows, following = self._page(repository, request, "pagelen")
            page: dict[str, Any] = {"values": [self._shown(c) for c in rows]}
            if following:
                page["next"] = f"{here}?{urlencode({**request.query, 'page': following})}"
            return Reply(200, page)
        if rest == "pullrequests/7/comments":
            if len(request.data["content"]["raw"]) > repository.longest:
                return self._error(400, "content: Text is too long")
            return Reply(201, self._shown(repository.add(who, request.data["content"]["raw"])))
        found = re.fullmatch(r"pullrequests/7/comments/(\d+)", rest)
        if found and request.method == "PUT":
            comment = next((c for c in repository.comments if c.id == int(found[1])), None)
            if comment is None:
                return self._error(404, "Comment not found")
            if comment.author != who:
                return self._error(403, "You cannot edit this comment.")
            comment.body = request.data["content"]["raw"]
            return Reply(200, self._shown(comment))
        if rest == "pullrequests" and request.method == "GET":
            words = re.fullmatch(
                r'source\.branch\.name="(.+)" AND destination\.branch\.name="(.+)" AND state="OPEN"',
                unquote_plus(request.query["q"]),
            )
            assert words
            return Reply(200, {"values": [self._pull(p) for p in repository.proposed(words[1], words[2])]})
        if rest == "pullrequests":
            data = request.data
            branches = data["source"]["branch"]["name"], data["destination"]["branch"]["name"]
            return Reply(201, self._pull(repository.propose(*branches, data["title"], data["description"])))
        found = re.fullmatch(r"pullrequests/(\d+)", rest)
        if found and request.method == "PUT":
            changed = repository.edit(found[1], request.data["title"], request.data["description"])
            return Reply(200, self._pull(changed))
        if rest == "downloads" or rest.startswith("downloads/"):
            return self._downloads(repository, rest, request)
        found = re.fullmatch(r"commit/([0-9a-f]{40})/statuses/build", rest)
        if found and request.method == "POST":
            repository.statuses.append({**request.data, "sha": found[1]})
            return Reply(201, {"type": "build", **request.data})
        return self._error(404, "Resource not found")

    def _pull(self, pull: Pull) -> dict[str, Any]:
        return {
            "type": "pullrequest",
            "id": pull.number,
            "title": pull.title,
            "description": pull.body,
            "state": "OPEN",
            "source": {"branch": {"name": pull.branch}},
            "destination": {"branch": {"name": pull.base}},
            "links": {"html": {"href": f"https://bitbucket.org/x/pull-requests/{pull.number}"}},
        }

    def _downloads(self, repository: Repository, rest: str, request: Request) -> Reply:
        if "files" in repository.forbidden and request.method != "GET":
            return self._error(403, "Your credentials lack one or more required privilege scopes.")
        if request.method == "GET":
            return Reply(200, {"values": [{"name": n} for n in repository.files]})
        if request.method == "DELETE":
            gone = repository.files.pop(rest.partition("/")[2], None)
            return Reply(204) if gone is not None else self._error(404, "No such download")
        repository.files |= _form(request)
        return Reply(201)

    def _shown(self, comment: Comment) -> dict[str, Any]:
        return {
            "type": "pullrequest_comment",
            "id": comment.id,
            "content": {"raw": comment.body, "markup": "markdown", "html": ""},
            "user": {"type": "app_user", "display_name": comment.author},
            "deleted": False,
            "created_on": WHEN,
            "updated_on": WHEN,
            "links": {"html": {"href": f"https://bitbucket.org/x/pull-requests/7#comment-{comment.id}"}},
            **comment.extra,
        }

    def _error(self, status: int, message: str) -> Reply:
        return Reply(status, {"type": "error", "error": {"message": message}})


def _form(request: Request) -> dict[str, bytes]:
    """The files of a form, by name."""
    boundary = request.headers["content-type"].partition("boundary=")[2].strip('"').encode()
    found = {}
    for part in request.raw.split(b"--" + boundary)[1:-1]:
        head, _, data = part.partition(b"\r\n\r\n")
        name = re.search(rb'filename="([^"]+)"', head)
        assert name
        found[name[1].decode()] = data.removesuffix(b"\r\n")
    return found
