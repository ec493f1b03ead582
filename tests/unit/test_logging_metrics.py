from datetime import timedelta

from app.observability.metrics import Metrics


def test_requests_are_counted_by_method_route_and_status_and_timed_by_route() -> None:
    metrics = Metrics()

    metrics.request_answered("GET", "/v1/tasks/{task_id}", 200, 0.02)
    metrics.request_answered("GET", "/v1/tasks/{task_id}", 404, 0.02)

    text = metrics.expose().decode()
    assert 'http_requests_total{endpoint="/v1/tasks/{task_id}",method="GET",status="404"} 1.0' in text
    assert 'http_request_duration_seconds_count{endpoint="/v1/tasks/{task_id}",method="GET"} 2.0' in text


def test_a_stream_is_counted_but_not_timed() -> None:
    metrics = Metrics()

    metrics.request_answered("GET", "/v1/tasks/{task_id}/events", 200, None)

    text = metrics.expose().decode()
    assert "http_requests_total{" in text
    assert "http_request_duration_seconds_count{" not in text


def test_invented_methods_and_agents_cannot_make_the_process_grow() -> None:
    metrics = Metrics()

    for number in range(500):
        metrics.request_answered(f"M{number}", "unmatched", 405, None)
        metrics.task_finished(f"agent{number}", "completed", 1.0)

    lines = metrics.expose().decode().splitlines()
    assert len([line for line in lines if line.startswith("http_requests_total{")]) == 1
    assert len([line for line in lines if line.startswith("tasks_finished_total{")]) == 65


def test_first_tokens_are_timed_by_agent_and_model_and_invented_models_cannot_make_the_process_grow() -> None:
    metrics = Metrics()

    for number in range(500):
        metrics.first_token_seen("TellingAgent", f"model{number}", timedelta(milliseconds=30))

    lines = metrics.expose().decode().splitlines()
    assert 'llm_first_token_seconds_bucket{agent="TellingAgent",le="0.05",model="model1"} 1.0' in lines
    assert 'llm_first_token_seconds_bucket{agent="TellingAgent",le="0.025",model="model1"} 0.0' in lines
    assert len([line for line in lines if line.startswith("llm_first_token_seconds_count{")]) == 257


def test_bells_and_gauges_are_exposed() -> None:
    metrics = Metrics()

    metrics.bell_rung()
    metrics.bell_failed()
    metrics.bell_failed()
    metrics.workers_alive.set(3)
    metrics.task_finished(None, "cancelled", None)

    text = metrics.expose().decode()
    assert 'bells_total{outcome="failed"} 2.0' in text
    assert 'bells_total{outcome="rung"} 1.0' in text
    assert "workers_alive 3.0" in text
    assert 'tasks_finished_total{agent_type="none",status="cancelled"} 1.0' in text


def test_each_instance_has_a_registry_of_its_own() -> None:
    assert Metrics().registry is not Metrics().registry
