#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# purity.sh ARCHIVE ALLOWED: the core decides and touches nothing. Whatever its archive imports must
# be on the list; each import that is not is named, and fails the test.

set -eu
export LC_ALL=C

archive=$1
allowed=$2

# One "ARCHIVE:MEMBER: [VALUE] TYPE NAME" a line. Not in a pipe, so that a failure ends the test.
symbols=$(nm -A "$archive")
[ -n "$symbols" ]

# What one member takes from another is no import, and what a sanitizer or a coverage build adds is
# not the core's own.
printf '%s\n' "$symbols" | awk '
        BEGIN {
                added = "^(__(asan|ubsan|tsan|msan|sanitizer|sancov|gcov)_|_GLOBAL_OFFSET_TABLE_$)"
        }
        FILENAME != "-" {
                if ($0 != "" && $0 !~ /^#/)
                        known[$0] = 1
                next
        }
        $(NF - 1) ~ /^[Uwv]$/ {
                imports[$NF] = imports[$NF] " " $1
                next
        }
        { known[$NF] = 1 }
        END {
                for (name in imports)
                        if (!(name in known) && name !~ added) {
                                printf "%s is imported by%s\n", name, imports[name]
                                faults++
                        }
                exit faults > 0
        }
' "$allowed" -
