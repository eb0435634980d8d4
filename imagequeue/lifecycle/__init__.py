"""The verbs: submit, dispatch, generate, settle, deliver, sweep. One commit per verb."""
