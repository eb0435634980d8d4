#!/bin/sh
# Whether every pin of dev.txt, which has those of run.txt, has a wheel for each Python and each processor that
# imagequeue runs on: `sh requirements/check_wheels.sh PIP...` downloads them all, and stops at the first that is
# missing. The download takes minutes. PIP... is the command of a pip, which may run on any Python.
#
# pip reads the markers of a pin (`; python_full_version < '3.12'`) for the Python that it runs on itself, so uv
# first leaves out what the other Python does not install.
set -eu
pins=$(dirname "$0")/dev.txt
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

for processor in x86_64 aarch64; do
    # The tags of the wheels that a system with glibc 2.28 takes; pip adds the older names to manylinux2014 alone.
    set_of_tags="--platform manylinux2014_$processor"
    for minor in $(seq 17 28); do
        set_of_tags="$set_of_tags --platform manylinux_2_${minor}_$processor"
    done
    for python in 3.11 3.12 3.13 3.14; do
        echo "wheels of every pin for Python $python on $processor"
        uv pip compile --quiet --no-deps --python-version "$python" --python-platform "$processor-manylinux_2_28" \
            --generate-hashes --no-annotate --no-header --no-strip-extras --no-emit-index-url --no-emit-find-links \
            "$pins" --output-file "$folder/pins.txt"
        # shellcheck disable=SC2086 # each tag is a word of its own
        "$@" download --quiet --no-deps --require-hashes --only-binary=:all: --implementation cp \
            --python-version "$python" $set_of_tags --dest "$folder" --requirement "$folder/pins.txt"
    done
done
