"""The lab: namespaces, web servers, weir itself and load, for tools/demo, tools/lab and tests/e2e."""
