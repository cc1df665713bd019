#!/bin/sh
# Installs what requirements/NAME.txt pins into /opt/ebbwatch, with its SBOM. For the Containerfile.
set -eu
name=$1
python3 -m venv --without-pip /opt/ebbwatch
tools/bin/pip --python /opt/ebbwatch/bin/python install --quiet --no-compile --require-hashes \
    --only-binary :all: --requirement "requirements/$name.txt"
# Packages ship their own tests: up to a seventh of an image, and nothing imports them.
find /opt/ebbwatch -type d -name tests -path '*/site-packages/*' -prune -exec rm -rf {} +
# By the source's hash, not its time: an image built again is the same.
/opt/ebbwatch/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/ebbwatch/lib
tools/bin/cyclonedx-py environment --output-reproducible --output-format JSON \
    --output-file /opt/ebbwatch/sbom.cdx.json /opt/ebbwatch/bin/python
