"""Requests to a forge's API that outlive a bad minute: retries, waits that the service asks for, pages.

What a service answers becomes a value or a `Trouble`; nothing of httpx is seen outside. A request that may
have been carried out although no answer came (a POST) is not sent again here: whoever asked looks first
whether it was.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit

import httpx

from mlflowc.errors import Failure
from mlflowc.report.forges.place import Place

TRIES = 5
# Seconds. A job must not sit out an hour's limit: what takes longer is given up, and said.
LONGEST, FIRST = 90.0, 0.5
# More pages than any conversation has: an answer that always names a next one must end.
PAGES = 500

Kind = Literal["denied", "missing", "large", "limited", "away", "refused", "unsure"]


class Trouble(Exception):
    """A request that did not succeed. `kind`: the token may not (`denied`), it is not there (`missing`), the
    text is too long (`large`), the service wants a longer wait (`limited`), no answer (`away`), anything else
    (`refused`); `unsure`: no answer to a request that may have been carried out."""

    def __init__(self, kind: Kind, message: str) -> None:
        super().__init__(message)
        self.kind: Kind = kind
        self.message = message


class Answer(NamedTuple):
    """What came back; `data` is the JSON, None where there is none."""

    status: int
    headers: Mapping[str, str]
    data: Any


class Client:
    """Talks to one API. `wait` sleeps; `budget` is how many seconds it may sleep in all."""

    def __init__(
        self,
        place: Place,
        headers: Mapping[str, str],
        *,
        wait: Callable[[float], None] = time.sleep,
        now: Callable[[], float] = time.time,
        budget: float = LONGEST,
    ) -> None:
        self.title = place.service.title
        self.api = place.api
        self.wait = wait
        self.now = now
        self.left = budget
        try:
            self._http = httpx.Client(
                headers={"User-Agent": "mlpipec", "Accept": "application/json", **headers},
                timeout=httpx.Timeout(30, connect=10),
                # Renamed repositories answer with another address.
                follow_redirects=True,
                event_hooks={"request": [self._keep_secret]},
            )
        except (httpx.InvalidURL, ValueError, OSError, ImportError) as e:
            raise Failure(f"cannot talk to {self.title}: {e}", help="look at the proxy's variables") from e

    def close(self) -> None:
        """Ends the connections."""
        self._http.close()

    def _keep_secret(self, request: httpx.Request) -> None:
        """No token for another host that an answer leads to. Of GitLab's header httpx does not know."""
        own, to = httpx.URL(self.api), request.url
        upgraded = own.host == to.host and to.scheme == "https"
        if (own.scheme, own.netloc) != (to.scheme, to.netloc) and not upgraded:
            for name in ("Authorization", "PRIVATE-TOKEN"):
                request.headers.pop(name, None)

    def get(self, path: str, **query: Any) -> Answer:
        """What is at `path` of the API (or at an address that the service named)."""
        return self._request("GET", path, again=True, params=query or None)

    def send(self, method: str, path: str, body: Mapping[str, Any]) -> Answer:
        """`body` as JSON. PUT and PATCH say the same when said twice, POST does not."""
        return self._request(method, path, again=method != "POST", json=dict(body))

    def upload(self, path: str, field: str, name: str, data: bytes) -> Answer:
        """A file as a form; twice is no harm."""
        return self._request("POST", path, again=True, files={field: (name, data, _media(name))})

    def upload_file(self, path: str, field: str, name: str, file: Path) -> Answer:
        """A large file as a form, which is not read as a whole."""
        with file.open("rb") as opened:
            return self._request("POST", path, again=True, files={field: (name, opened, _media(name))})

    def send_file(self, method: str, path: str, file: Path) -> Answer:
        """A file as it is, which is not read as a whole. What is there already by that name is replaced or
        refused: it is never there twice."""
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(file.stat().st_size)}
        return self._request(method, path, again=True, headers=headers, content=_Chunks(file))

    def delete(self, path: str) -> Answer:
        """Removes what is at `path`."""
        return self._request("DELETE", path, again=True)

    def pages(
        self, path: str, after: Callable[[Answer], str | None], **query: Any
    ) -> Iterator[list[Mapping[str, Any]]]:
        """The lists of all pages; `after` finds the address of the next one in an answer."""
        answer = self.get(path, **query)
        for _ in range(PAGES):
            rows = answer.data.get("values") if isinstance(answer.data, dict) else answer.data
            if not isinstance(rows, list):
                raise Trouble("refused", f"{self.title} answered with something that is no list")
            yield [r for r in rows if isinstance(r, dict)]
            following = after(answer)
            if not following:
                return
            answer = self.get(self._own(following))
        raise Trouble("refused", f"{self.title}: more than {PAGES} pages")

    def _own(self, address: str) -> str:
        """The address at the API's own host: behind a proxy a service may name itself by another one, and a
        token goes nowhere else."""
        parts, own = urlsplit(address), urlsplit(self.api)
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        return f"{own.scheme}://{own.netloc}{path}"

    def _request(self, method: str, path: str, *, again: bool, **content: Any) -> Answer:
        url = path if "://" in path else self.api + path
        last = Trouble("away", f"{self.title} does not answer")
        for tried in range(TRIES):
            asked: float | None = 0.0
            try:
                reply = self._http.request(method, url, **content)
            except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as e:
                last = Trouble("away", f"{self.title} cannot be reached at {self.api}: {_why(e)}")
            except (httpx.HTTPError, httpx.InvalidURL) as e:
                if not again:
                    raise Trouble("unsure", f"{self.title} gave no answer: {_why(e)}") from e
                last = Trouble("away", f"{self.title} gave no answer: {_why(e)}")
            else:
                answer = Answer(reply.status_code, reply.headers, _json(reply))
                asked = limited(answer, self.now())
                if asked is not None:
                    last = Trouble("limited", f"{self.title} limits requests: {said(answer)}")
                elif answer.status < 400:
                    return answer
                elif answer.status < 500:
                    raise _refusal(self.title, answer)
                elif not again:
                    raise Trouble("unsure", f"{self.title} has an error of its own ({answer.status})")
                else:
                    last = Trouble("away", f"{self.title} has an error of its own ({answer.status})")
            if tried + 1 < TRIES:
                self._pause(max(asked or 0.0, self._backoff(tried)), last)
        raise last

    def pause(self, tried: int, trouble: Trouble) -> None:
        """Waits before another try; raises `trouble` where there is no time left."""
        self._pause(self._backoff(tried), trouble)

    def _pause(self, seconds: float, trouble: Trouble) -> None:
        if seconds > self.left:
            if trouble.kind == "limited":
                raise Trouble("limited", f"{trouble.message}; it asks to wait {seconds:.0f} s") from trouble
            raise trouble
        self.left -= seconds
        self.wait(seconds)

    def _backoff(self, tried: int) -> float:
        # Many jobs that failed together must not come back together.
        return float(FIRST * 2**tried * random.uniform(0.8, 1.2))


class _Chunks:
    """The bytes of a file, from its beginning whenever they are asked for: also for another try."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def __iter__(self) -> Iterator[bytes]:
        with self._file.open("rb") as opened:
            while chunk := opened.read(1 << 20):
                yield chunk


def limited(answer: Answer, now: float) -> float | None:
    """How many seconds the service asks to wait; None where it asks for nothing."""
    headers = answer.headers
    spent = headers.get("x-ratelimit-remaining") == "0"
    secondary = answer.status == 403 and "rate limit" in said(answer).lower()
    if answer.status != 429 and not (
        answer.status == 403 and ("retry-after" in headers or spent or secondary)
    ):
        return None
    after = _number(headers.get("retry-after"))
    if after is not None:
        return after
    reset = _number(headers.get("x-ratelimit-reset") or headers.get("ratelimit-reset"))
    if reset is not None and (spent or headers.get("ratelimit-remaining") == "0"):
        return max(0.0, reset - now) + 1
    # GitHub: at least a minute where a secondary limit names no time.
    return 60.0 if secondary else 0.0


def said(answer: Answer) -> str:
    """The service's own words, on one line."""
    data = answer.data
    words: Any = ""
    if isinstance(data, dict):
        words = data.get("message") or data.get("error_description") or data.get("error") or ""
        if isinstance(words, dict):
            # Bitbucket has a message inside, GitLab a list of complaints for each field.
            words = words.get("message") or words.get("detail") or json.dumps(words, ensure_ascii=False)
    text = " ".join((words if isinstance(words, str) else str(words)).split())
    return text[:200] or f"status {answer.status}"


def next_link(answer: Answer) -> str | None:
    """The address with `rel="next"` of the header Link."""
    for part in answer.headers.get("link", "").split(","):
        address, _, rest = part.strip().partition(">")
        if address.startswith("<") and any(
            p.strip().replace('"', "").lower() == "rel=next" for p in rest.split(";")
        ):
            return address[1:]
    return None


def _refusal(title: str, answer: Answer) -> Trouble:
    words = said(answer)
    kinds: dict[int, tuple[Kind, str]] = {
        401: ("denied", f"{title} does not take the token: {words}"),
        403: ("denied", f"the token may not do that at {title}: {words}"),
        404: ("missing", f"{title} has none, or hides it from the token: {words}"),
        410: ("missing", f"{title} has none any more: {words}"),
        413: ("large", f"{title} takes no text that long: {words}"),
    }
    kind, message = kinds.get(answer.status, ("refused", f"{title} refuses ({answer.status}): {words}"))
    if answer.status in (400, 422) and "too long" in words.lower():
        kind = "large"
    return Trouble(kind, message)


def _json(reply: httpx.Response) -> Any:
    try:
        return reply.json()
    except ValueError:
        return None


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if 0 <= value < 1e11 else None


def _why(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _media(name: str) -> str:
    ending = name.rpartition(".")[2].lower()
    return {"png": "image/png", "svg": "image/svg+xml", "jpg": "image/jpeg", "jpeg": "image/jpeg"}.get(
        ending, "application/octet-stream"
    )
