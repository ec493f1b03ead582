"""What people see who open a link to an approval: plain pages without scripts. Pure."""

from collections.abc import Mapping
from html import escape

from app.clock import to_iso
from app.governance.approvals.models import Approval, ApprovalStatus
from app.governance.approvals.web_form import comment_html, fields_html
from app.identity.link_tokens import ApprovalLink

# It has its styles in itself, nothing runs, and nobody can lay another page over the button.
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
}
MOST_SHOWN = 20_000
_STYLE = (
    "body{font:16px/1.5 sans-serif;max-width:42em;margin:3em auto;padding:0 1em}pre{white-space:pre-wrap;"
    "overflow-wrap:anywhere;background:#f4f4f4;padding:1em}button{font:inherit;padding:.5em 1.5em}"
    "input,select,textarea{font:inherit;width:100%;box-sizing:border-box}[role=alert]{border-left:.3em solid;"
    "padding-left:1em}"
)


def confirmation(
    approval: Approval, link: ApprovalLink, texts: Mapping[str, str] | None = None, *, problem: str | None = None
) -> str:
    """Asks whether to decide so, with the fields that whoever approves fills in; only the button does.

    ``texts`` are what was typed before, and ``problem`` is what was wrong with it.
    """
    if approval.status is not ApprovalStatus.PENDING:
        return told("Already decided", f"This was {approval.status} already. Nothing is left to do.")
    if approval.revision != link.revision:
        return told("Changed", "What is proposed was changed since this link was made. Ask for a new one.")
    typed = texts or {}
    verb = "Approve" if link.approved else "Reject"
    document = approval.document
    who = f"Asked for by {escape(approval.requested_by)} at {to_iso(document['created_at'])}."
    parts = [
        f'<p role="alert"><strong>{escape(problem)}</strong></p>' if problem else "",
        *(f"<p>{escape(told)}</p>" for told in (approval.terms.message, document["subject"]["reason"]) if told),
        _input(approval.input),
        f"<p>{who} You decide as {escape(link.key_id)}.{_quorum(approval)}</p>",
        '<form method="post">',
        fields_html(approval.terms.form, typed) if link.approved else "",
        comment_html(typed),
        f'<button type="submit">{verb}</button></form>',
    ]
    return _page(f"{verb}: {document['subject']['title']}", "".join(parts))


def told(title: str, message: str) -> str:
    return _page(title, f"<p>{escape(message)}</p>")


def decided(approval: Approval) -> str:
    if approval.status is ApprovalStatus.PENDING:
        return told("Thank you", f"Your vote counts; {approval.terms.quorum} have to approve.")
    return told("Thank you", f"This is {approval.status} now.")


def _quorum(approval: Approval) -> str:
    """So far all votes are approvals: one rejection would have decided."""
    quorum = approval.terms.quorum
    return "" if quorum == 1 else f" {quorum} have to approve; {len(approval.votes)} did so far."


def _input(text: str | None) -> str:
    if text is None:
        return ""
    rest = f"<p>… and {len(text) - MOST_SHOWN} more characters.</p>" if len(text) > MOST_SHOWN else ""
    hint = "<p>It cannot be edited here: the API and `orchestrate approvals approve --edited FILE` take edits.</p>"
    return f"<pre>{escape(text[:MOST_SHOWN])}</pre>{rest}{hint}"


def _page(title: str, body: str) -> str:
    head = f'<meta charset="utf-8"><title>{escape(title)}</title><style>{_STYLE}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body><h1>{escape(title)}</h1>{body}</body></html>\n'
