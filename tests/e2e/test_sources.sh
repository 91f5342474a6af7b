#!/bin/bash
# Training reads the same bytes from a file, a real S3 server, a real HDFS, a web server, and from
# mirrors of which one is killed in mid-run; what cannot be read is told clearly.
source "$(dirname "$0")/lib.sh"
source "$here/stores.sh"
export PATH=$PATH:/usr/sbin
command -v nginx >/dev/null || skip "no nginx to serve http with"
start_stores 17470 19400 corpus
webhdfs=webhdfs://127.0.0.1:$((HDFS_PORT + 1))/tmp/corpus
hdfs=hdfs://127.0.0.1:$HDFS_PORT/tmp/corpus
s3=s3://corpus/en web=http://127.0.0.1:17480
mkdir -p "$stores/web/root"
cat >"$stores/web/nginx.conf" <<CONF
daemon off; master_process off; pid $stores/web/pid; error_log stderr; events {}
http {
    client_body_temp_path $stores/web/1; proxy_temp_path $stores/web/2; access_log off;
    fastcgi_temp_path $stores/web/3; uwsgi_temp_path $stores/web/4; scgi_temp_path $stores/web/5;
    server { listen 127.0.0.1:17480; root $stores/web/root; location /secret { deny all; } }
}
CONF
start_web() {
    nginx -c "$stores/web/nginx.conf" -p "$stores/web" -e stderr 2>"$work/nginx.out" &
    echo "nginx $!" >"$stores/web/pids"
    disown $!
}
start_web

# Twice the dictionary does not fit half of a loader's budget, so training reads as it goes.
dir=$stores/web/root
some_text 70000000 "$dir/half"
cat "$dir/half" "$dir/half" >"$dir/text"
truncate -s 70000000 "$dir/text"
gzip -c1 "$dir/half" >"$dir/text.txt.gz"
rm "$dir/half"
head -c 69000000 "$dir/text" >"$dir/shorter"
for store in $s3 $webhdfs; do
    for name in text text.txt.gz; do
        expect 0 "$MUSTER_TESTS/blobctl" put $store $name "$dir/$name"
    done
done

say "every source is the same dataset"
expect 0 muster data index "$dir/text" --elems 65 --stride 64
want=$(grep fingerprint "$work/last.out")
for uri in {$s3,$webhdfs,$hdfs,$web}/text "$s3/text,$web/text"; do
    expect 0 muster data index "$uri" --elems 65 --stride 64
    mentions "$want"
done
expect 0 muster data verify "$dir/text.txt.gz"
crc=$(grep -o 'crc32c .*' "$work/last.out")
expect 0 muster data verify "$s3/text.txt.gz,$webhdfs/text.txt.gz,$web/text.txt.gz"
[ "$(grep -c "$crc" "$work/last.out")" = 3 ] || fail "other contents than $crc"
for folder in $s3/ $webhdfs/; do
    expect 0 muster data ls "$folder" --format raw
    mentions text.txt.gz
done

train() { # URI NAME STEPS OPTIONS …
    local uri=$1 name=$2 steps=$3
    shift 3
    train_lm --data "$uri" --ckpt "$work/ckpt.$name" --steps "$steps" --batch 8 "$@" \
        >"$work/$name.out" 2>&1
}

say "training from each ends with the same bits"
train "$dir/text" file 200 || fail "training from a file"
for uri in $s3 $webhdfs $hdfs $web; do
    train $uri/text "${uri%%:*}" 200 || fail "training from $uri"
    [ "$(final "$work/${uri%%:*}.out")" = "$(final "$work/file.out")" ] || fail "$uri: other bits"
done

say "a checkpoint goes on from another source"
train $s3/text moved 100 || fail "training from S3"
train $webhdfs/text moved 200 || fail "going on from HDFS"
[ "$(final "$work/moved.out")" = "$(final "$work/file.out")" ] || fail "moved: other bits"

say "a mirror is killed in mid-run"
train "$web/text,$s3/text" mirrors 200 --loss-log "$work/losses" &
job=$!
until_true test -s "$work/losses"
kill -9 "$(awk '{print $2}' "$stores/web/pids")"
[ "$(wc -l <"$work/losses")" -lt 100 ] || fail "too late to kill the mirror"
wait $job || fail "training did not go on without its first mirror"
[ "$(final "$work/mirrors.out")" = "$(final "$work/file.out")" ] || fail "mirrors: other bits"
cmp <(sort -n "$work/losses" | cut -d' ' -f1) <(seq 200) || fail "steps missing"

say "what cannot be read"
expect 1 muster data index "$web/text,$web/text"
mentions "all 2 mirrors failed" "$web"
start_web
until_true curl -sf -o /dev/null "$web/shorter"
expect 1 muster data index "$s3/text,$web/shorter"
mentions "70000000" "69000000" "must hold the same bytes"
expect 1 muster data index $web/absent
mentions 404 "$web/absent"
expect 1 muster data index $web/secret
mentions 403
expect 1 muster data index $s3/absent
mentions 404
expect 1 muster data index $webhdfs/absent
mentions "File does not exist"
expect 1 env AWS_SECRET_ACCESS_KEY=wrong muster data index $s3/text
mentions SignatureDoesNotMatch "access key testkey"
expect 1 env -u AWS_ACCESS_KEY_ID -u AWS_SECRET_ACCESS_KEY AWS_EC2_METADATA_DISABLED=true \
    muster data index $s3/text
mentions credentials
expect 0 env AWS_REGION=eu-west-7 muster data index $s3/text # the server told its own
expect 1 muster data index $web/
mentions "cannot list"
echo "sources: OK"
