#!/bin/bash
# Objects in every kind of store: a folder, a real S3 server, a real HDFS, a web server.
source "$(dirname "$0")/lib.sh"
source "$here/stores.sh"
blobctl=$MUSTER_TESTS/blobctl
export PATH=$PATH:/usr/sbin
for program in nginx openssl; do
    command -v $program >/dev/null || skip "no $program to serve http and https with"
done
start_stores 17170 19100 bucket
web=$stores/web
mkdir -p "$web/root"
openssl req -x509 -newkey rsa:2048 -nodes -days 9 -subj /CN=localhost -keyout "$web/key.pem" \
    -addext subjectAltName=IP:127.0.0.1 -out "$web/cert.pem" 2>/dev/null
cat >"$web/nginx.conf" <<CONF
daemon off; master_process off; pid $web/pid; error_log stderr; events {}
http {
    client_body_temp_path $web/1; proxy_temp_path $web/2; fastcgi_temp_path $web/3;
    uwsgi_temp_path $web/4; scgi_temp_path $web/5; access_log off;
    server { listen 127.0.0.1:17180; root $web/root; location /plain { max_ranges 0; } }
    server {
        listen 127.0.0.1:17181 ssl;
        ssl_certificate $web/cert.pem; ssl_certificate_key $web/key.pem; client_max_body_size 0;
        location / { proxy_pass $AWS_ENDPOINT_URL; proxy_set_header Host \$http_host; }
    }
}
CONF
nginx -c "$web/nginx.conf" -p "$web" -e stderr 2>"$work/nginx.out" &
echo "nginx $!" >"$web/pids"

: >"$work/empty"
head -c 1 /dev/urandom >"$work/byte"
head -c 5M /dev/urandom >"$work/middle"
head -c 70M /dev/urandom >"$work/large"

fetch() { # URI KEY FILE [CHUNK]: what comes is what the file has
    expect 0 "$blobctl" get "$1" "$2" "$work/got" ${4:+"$4"}
    cmp "$work/got" "$3" || fail "$1/$2 differs from $3"
}

for store in "file://$work/store" s3://bucket/some/where \
    "webhdfs://127.0.0.1:$((HDFS_PORT + 1))/tmp/a" "hdfs://127.0.0.1:$HDFS_PORT/tmp/b"; do
    say "$store"
    for name in empty byte middle large; do
        expect 0 "$blobctl" put "$store" "folder/$name of \$ä+&" "$work/$name"
        fetch "$store" "folder/$name of \$ä+&" "$work/$name"
    done
    expect 0 "$blobctl" stat "$store" "folder/large of \$ä+&"
    mentions 73400320
    fetch "$store" "folder/middle of \$ä+&" "$work/middle" 77777

    expect 17 "$blobctl" put "$store" "folder/byte of \$ä+&" "$work/middle" new
    mentions "exists"
    expect 17 "$blobctl" put "$store" "folder/large of \$ä+&" "$work/large" new
    fetch "$store" "folder/byte of \$ä+&" "$work/byte"
    expect 0 "$blobctl" put "$store" "folder/byte of \$ä+&" "$work/middle"
    fetch "$store" "folder/byte of \$ä+&" "$work/middle"
    expect 0 "$blobctl" put "$store" folder.b "$work/byte" new

    expect 0 "$blobctl" list "$store" folder/
    printf '%s folder/%s of $ä+&\n' 5242880 byte 0 empty 73400320 large 5242880 middle |
        cmp - "$work/last.out" || fail "the listing differs"
    expect 0 "$blobctl" list "$store" ""
    [ "$(head -n 1 "$work/last.out")" = "1 folder.b" ] || fail "the listing is not in byte order"
    expect 0 "$blobctl" list "$store" nowhere
    [ ! -s "$work/last.out" ] || fail "something in an empty folder"

    expect 0 "$blobctl" rm "$store" folder.b
    expect 0 "$blobctl" rm "$store" folder.b
    expect 2 "$blobctl" stat "$store" folder.b
    expect 2 "$blobctl" get "$store" folder.b "$work/got"
    expect 22 "$blobctl" stat "$store" ../folder
done

say "a listing of more than one page"
expect 0 "$blobctl" fill s3://bucket many 1003
expect 0 "$blobctl" list s3://bucket many
[ "$(sort -u "$work/last.out" | wc -l)" = 1003 ] || fail "not all 1003 keys are listed"

say "S3's errors"
expect 13 env AWS_SECRET_ACCESS_KEY=wrong "$blobctl" stat s3://bucket "some/where/folder.b"
mentions SignatureDoesNotMatch "the environment"
expect 13 env AWS_ACCESS_KEY_ID=nobody "$blobctl" list s3://bucket ""
mentions nobody
expect 13 env -u AWS_ACCESS_KEY_ID -u AWS_SECRET_ACCESS_KEY AWS_EC2_METADATA_DISABLED=true \
    "$blobctl" list s3://bucket ""
mentions AWS_ACCESS_KEY_ID .aws/credentials
expect 0 env AWS_REGION=eu-west-7 "$blobctl" stat s3://bucket many/00000
expect 2 "$blobctl" list s3://absent ""
mentions "no bucket absent"
expect 2 "$blobctl" put s3://absent key "$work/byte"
expect 111 env BLOBCTL_TIMEOUT_MS=500 "$blobctl" stat "s3://bucket?endpoint=http://127.0.0.1:1" key
mentions "given up after"

say "S3 over TLS, if its certificate is known"
tls="s3://bucket?endpoint=https://127.0.0.1:17181"
expect 13 "$blobctl" stat "$tls" many/00000
mentions certificate
export AWS_CA_BUNDLE=$web/cert.pem
expect 0 "$blobctl" put "$tls" over-tls "$work/large" new
fetch "$tls" over-tls "$work/large"
expect 0 "$blobctl" put "$tls" over-tls "$work/middle"
fetch "$tls" over-tls "$work/middle"
unset AWS_CA_BUNDLE

say "HDFS's errors"
expect 13 env HADOOP_USER_NAME=nobody "$blobctl" put "hdfs://127.0.0.1:$HDFS_PORT/" key "$work/byte"
mentions AccessControlException nobody
expect 22 env -u HADOOP_CONF_DIR "$blobctl" list hdfs://somewhere/ ""
mentions HADOOP_CONF_DIR

say "a web server, with ranges and without"
mkdir "$web/root/plain"
cp "$work/middle" "$web/root/a middle"
cp "$work/middle" "$work/byte" "$web/root/plain/"
fetch http://127.0.0.1:17180/ "a middle" "$work/middle" 1000000
fetch http://127.0.0.1:17180/plain middle "$work/middle" 1000000
fetch http://127.0.0.1:17180/plain byte "$work/byte"
expect 2 "$blobctl" get http://127.0.0.1:17180/ absent "$work/got"
mentions 404

say "a data node is killed while a file is read, and another goes on"
before=$SECONDS
"$blobctl" get "hdfs://127.0.0.1:$HDFS_PORT/tmp/b" "folder/large of \$ä+&" "$work/got" 400000 \
    >"$work/read.out" 2>&1 &
reader=$!
kill -9 "$(awk '$1 == "dn-1" {print $2}' "$HDFS_RUN/pids")"
kill -0 $reader || fail "the read was over before the data node died"
wait $reader || fail "the read failed: $(cat "$work/read.out")"
cmp "$work/got" "$work/large" || fail "what was read is not what was put"
say "it took $((SECONDS - before)) s"

say "no S3 server any more"
kill -9 "$(awk '{print $2}' "$S3_RUN/pids")"
expect 111 env BLOBCTL_TIMEOUT_MS=500 "$blobctl" stat s3://bucket many/00000
