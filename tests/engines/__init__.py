"""Real servers for tests: private, on loopback, gone when the tests are."""
