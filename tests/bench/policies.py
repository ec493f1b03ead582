"""What a decision costs: the CPU time a policy takes to decide about one call of a tool, by how many rules it has."""

import time

from app.governance.policy.deciding import decide
from app.governance.policy.facts import Facts
from app.governance.policy.loading import load_policy
from app.governance.policy.models import FactKind

DECISIONS = 2000
# Each looks at three facts, and the last one applies: no rule is spared.
_RULE = """  - name: r{number}
    applies_to: [tool]
    when: tool.name == "tool-{number}" && (spend.usd > 1.5 || tool.arguments.path.startsWith("/etc/{number}"))
    decide: deny
"""


def microseconds_per_decision(rules: int) -> float:
    policy = load_policy("version: 1\nrules:\n" + "".join(_RULE.format(number=number) for number in range(rules)))
    values = {"tool.name": f"tool-{rules - 1}", "spend.usd": 2.0, "tool.arguments": {"path": "/data/notes.txt"}}
    facts = Facts.of(FactKind.TOOL, values)
    assert decide(policy, facts).rule == f"r{rules - 1}"
    began = time.process_time()
    for _ in range(DECISIONS):
        decide(policy, facts)
    return (time.process_time() - began) / DECISIONS * 1_000_000
