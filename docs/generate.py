"""Which pages say what the code already says?

docs/errors.md, .env.example, and in docs/operations.md what stands between the marks `<!-- settings -->` and
`<!-- metrics -->` and their ends. `python -m docs.generate` writes them; a test compares them.
"""

import re
from pathlib import Path
from typing import get_args

from prometheus_client.metrics import MetricWrapperBase

from app.errors import table
from app.settings import TRAINING_NAMES, Setting, settings_list
from app.telemetry import metrics

ROOT = Path(__file__).parent.parent

ERRORS_HEAD = """# Errors
<!-- made by `python -m docs.generate` from app/errors.py -->
Every answer that is not a success has this body, on every path and from every cause:
```json
{
  "error": {
    "code": "text_too_long",
    "message": "text 3 has 1038 tokens; this model takes 256; send \\"truncate\\": \\"end\\"",
    "type": "invalid_request_error",
    "param": "texts[3]",
    "index": 3,
    "request_id": "0af7651916cd43dd8448eb211c80319c",
    "retryable": false,
    "retry_after_ms": null
  }
}
```
- `code` is one of the table below and will not change its meaning; `message` is for people and may.
- `param` is the field it is about, `index` the offending text, counted from 0. One bad text fails its whole request,
  and no other request.
- `request_id` is also the header `x-request-id`; the log has more under it. Neither holds any of your text.
- Repeat a request only if `retryable`: a repeat may then succeed, which is not to say that it will. Where the service
  can tell when, `retry_after_ms` does, and so do the headers `retry-after` (whole seconds) and `retry-after-ms`: always
  after 429, and after 503 while an engine starts.

| status | code | retryable | meaning |
|---|---|---|---|
"""


def pages() -> dict[Path, str]:
    """Each generated file with what it has to hold."""
    operations = ROOT / "docs" / "operations.md"
    text = operations.read_text(encoding="utf-8")
    text = _between(text, "settings", _settings_table())
    text = _between(text, "metrics", _metrics_table())
    return {ROOT / "docs" / "errors.md": _errors(), ROOT / ".env.example": _env(), operations: text}


def _errors() -> str:
    rows = [
        f"| {error.status} | `{error.code}` | {'yes' if error.retryable else 'no'} | {_one_line(error.__doc__)} |"
        for error in table()
    ]
    return ERRORS_HEAD + "\n".join(rows) + "\n"


def _env() -> str:
    lines = [
        "# Every setting with its default. docker compose reads a copy of this file named .env; the service itself",
        "# reads the environment only. Made by `python -m docs.generate` from app/settings.py.",
    ]
    for setting in settings_list():
        lines += ["", f"# {setting.field.description}", f"# {setting.name}={_default(setting)}"]
    for name in sorted(TRAINING_NAMES):
        lines += [
            "",
            "# Folder of data sets that recipes name as ${" + name + "}; read by training only.",
            f"# {name}=",
        ]
    return "\n".join(lines) + "\n"


def _settings_table() -> str:
    lines = ["| variable | default | takes | why |", "|---|---|---|---|"]
    for setting in settings_list():
        default = f"`{_default(setting)}`" if _default(setting) else "unset"
        lines.append(f"| `{setting.name}` | {default} | {_takes(setting)} | {setting.field.description} |")
    return "\n".join(lines)


def _metrics_table() -> str:
    lines = ["| name | type | labels | what |", "|---|---|---|---|"]
    for metric in vars(metrics).values():
        if isinstance(metric, MetricWrapperBase):
            labels = ", ".join(f"`{name}`" for name in metric._labelnames) or "–"
            family = next(iter(metric.describe()))
            suffix = "_total" if family.type == "counter" else ""
            lines.append(f"| `{family.name}{suffix}` | {family.type} | {labels} | {family.documentation} |")
    return "\n".join(lines)


def _default(setting: Setting) -> str:
    return "" if setting.field.default is None else str(setting.field.default)


def _takes(setting: Setting) -> str:
    kind = setting.field.annotation
    if values := [value for value in get_args(kind) if isinstance(value, str)]:
        return ", ".join(f"`{value}`" for value in values)
    limits = {name: limit for rule in setting.field.metadata for name, limit in _limits(rule)}
    if {"ge", "le"} <= set(limits):
        return f"{limits['ge']:,} to {limits['le']:,}"
    return "a path" if kind is Path else "text"


def _limits(rule: object) -> list[tuple[str, int]]:
    return [(name, getattr(rule, name)) for name in ("ge", "le") if hasattr(rule, name)]


def _between(text: str, mark: str, content: str) -> str:
    pattern = re.compile(rf"(<!-- {mark} -->\n).*?(<!-- end of {mark} -->)", re.DOTALL)
    assert pattern.search(text), f"docs/operations.md lacks the marks of {mark}"
    return pattern.sub(lambda match: match[1] + content + "\n" + match[2], text)


def _one_line(docstring: str | None) -> str:
    return " ".join((docstring or "").split()).replace("|", "\\|")


if __name__ == "__main__":
    for path, content in pages().items():
        path.write_text(content, encoding="utf-8")
