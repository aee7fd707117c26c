#!/usr/bin/env bash
# What a pipeline does with a repository of workflows: checks the files, says what the merge would do, makes it,
# and waits until it is live. Run it in a clone that has both branches, with the name of both environments:
#
#   BELFRY_URL=https://belfry.example.com BELFRY_API_KEY=sk_… ci-example.sh staging production
#
# BELFRY_COMMAND is how the program is called there; PLAN_FILE is where the plan goes, as Markdown.
set -euo pipefail

from=${1:?say which environment is merged}
to=${2:?say which environment it is merged into}
read -ra belfry <<<"${BELFRY_COMMAND:-belfry}"
plan_file=${PLAN_FILE:-plan.md}

echo "== the files are right"
"${belfry[@]}" validate --strict

echo "== what the merge would do: $plan_file"
# Exits with 1 where a policy, a conflict or a broken file keeps it from being made; the plan says what.
status=0
"${belfry[@]}" plan --env "$to" --head "$from" --output markdown >"$plan_file" || status=$?
cat "$plan_file"
if ((status != 0)); then exit "$status"; fi

echo "== the merge"
result=$("${belfry[@]}" promote "$from" "$to" --yes --push --output json)
revision=$(node -p 'JSON.parse(require("node:fs").readFileSync(0, "utf8")).revision' <<<"$result")
echo "$to is at $revision"

echo "== it is live"
# 0: it is. 1: it was refused, and what it says is what to mend. 2: nothing is known yet.
"${belfry[@]}" status "$to" --wait --revision "$revision" --timeout "${WAIT_SECONDS:-120}"
