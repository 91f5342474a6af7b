# Sourced behind lib.sh by the tests of remote stores: a real S3 server and a real HDFS, and the
# environment that finds them. What they write lies in $stores and not in $work, where it would be
# taken for leftovers of a job.
: "${here:?}" "${work:?}"
for program in java curl; do
    command -v $program >/dev/null || skip "no $program to run S3 and HDFS servers with"
done
servers=$here/../servers built=$here/../../build/servers
# shellcheck source=../servers/versions
source "$servers/versions"
for part in "s3/$s3_program" "hdfs/$hdfs_stamp"; do
    [ -e "$built/$part" ] || skip "no $built/$part: make deps-servers"
done
stores=$(mktemp -d -t muster-stores-XXXXXX)
export S3_RUN=$stores/s3 HDFS_RUN=$stores/hdfs
export AWS_ACCESS_KEY_ID=testkey AWS_SECRET_ACCESS_KEY=testsecret HOME=$work
unset AWS_REGION AWS_DEFAULT_REGION AWS_SESSION_TOKEN AWS_PROFILE HADOOP_USER_NAME

# Servers of a test's own note themselves in a file pids of a folder in $stores, as "name pid".
stop_stores() {
    cat "$stores"/*/pids 2>/dev/null | awk '{print $2}' | xargs -r kill -9 2>/dev/null || :
    rm -rf "$stores"
    cleanup
}
trap stop_stores EXIT

start_s3() { "$servers/start-s3" "$built/s3" >/dev/null; }

# start_stores S3-PORT HDFS-PORT BUCKET
start_stores() {
    export S3_PORT=$1 HDFS_PORT=$2 S3_BUCKET=$3
    export AWS_ENDPOINT_URL=http://127.0.0.1:$S3_PORT HADOOP_CONF_DIR=$HDFS_RUN/conf
    say "servers"
    start_s3 || fail "no S3 server"
    "$servers/start-hdfs" "$built/hdfs" >/dev/null || fail "no HDFS"
}
