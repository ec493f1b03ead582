"""Answers with its input."""

from app.agents.base import AgentOutput, AgentRequest, AgentTools, BaseAgent
from app.agents.markdown import summarize


class EchoAgent(BaseAgent):
    """Costs nothing and calls nobody, so it measures the orchestrator alone."""

    async def run(self, request: AgentRequest, tools: AgentTools) -> AgentOutput:  # noqa: ARG002
        return AgentOutput(summary=summarize(request.text, fallback=request.text), raw_output=request.text)
