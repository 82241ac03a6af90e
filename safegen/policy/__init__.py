"""Policy as code: one spec file gives the expectation, the teacher's instructions and the fingerprint."""
