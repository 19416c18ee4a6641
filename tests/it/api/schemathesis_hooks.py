"""Which requests that fit the description may be refused with 400, because a schema cannot say why."""
import schemathesis


def may_be_refused(case, error):
    param = error.get("param")
    if case.path == "/v1/events":
        # A number or an id beyond the newest event.
        return param in ("after", "Last-Event-ID") and "newest event" in error["message"]
    if case.path == "/v1/tasks":
        # EvoLink's own form has other parameters and statuses than ours.
        return any(name in (case.query or {}) for name in ("page", "page_size", "type"))
    if case.path == "/v1/tasks/{id}":
        # EvoLink's own answer about an id that is not ours.
        return error["code"] == "invalid_task_id" and "task-unified-" in error["message"]
    # A host that `forward.allowed_hosts` does not list.
    return param == "callback_url"


@schemathesis.check
def only_named_reasons_refuse_what_fits(context, response, case):
    if response.status_code != 400 or not case.meta.generation.mode.is_positive:
        return
    error = response.json()["error"]
    assert may_be_refused(case, error), f"a request that fits was refused: {error}"
