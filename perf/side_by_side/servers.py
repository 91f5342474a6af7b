"""Stores on this machine, with an object to read: S3 and HDFS, where they can be started."""
import contextlib
import getpass
import os
import pathlib
import signal
import sys
import time
import urllib.request

from side_by_side.programs import Failed, end, run, start
from side_by_side.trees import HERE, PERF

S3_PORT, DELAYED_PORT, HDFS_PORT = 17570, 17571, 19500
FOLDER = pathlib.Path(os.environ.get("SERVERS", HERE / "build" / "servers"))
RANGES = 8
START_S = 120


def start_script(script, folder, variables):
    """The URL that the script prints, and None; or None, and why the server cannot be had."""
    try:
        said = run([HERE / "tests" / "servers" / script, FOLDER / folder], variables, START_S)
        return said.strip(), None
    except Failed as why:
        return None, str(why).splitlines()[-1]


def stop(run_folder):
    pids = run_folder / "pids"
    for line in pids.read_text("utf-8").splitlines() if pids.exists() else ():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(line.split()[1]), signal.SIGKILL)


def ranges(count):
    part = count // RANGES
    return [(i * part, (i + 1) * part - 1) for i in range(RANGES)]


def config(path, requests):
    """A configuration of curl: each request is the lines of one transfer."""
    common = ["output = /dev/null", "location", "fail"]
    transfers = ["\n".join(lines + common) for lines in requests]
    path.write_text("\nnext\n".join(transfers) + "\n", "utf-8")
    return path


SIGNED = ['aws-sigv4 = "aws:amz:us-east-1:s3"', 'user = "testkey:testsecret"',
          'header = "x-amz-content-sha256: UNSIGNED-PAYLOAD"']


class S3:
    name, uri = "S3", "s3://perf/object"

    def __init__(self, setting):
        self.folder, self.setting = setting.folder / "s3", setting
        setting.closing.callback(stop, self.folder)
        self.url, self.lacks = start_script("start-s3", "s3", {
            "S3_RUN": str(self.folder), "S3_BUCKET": "perf", "S3_PORT": str(S3_PORT)})
        self.variables = self.variables_of(S3_PORT)

    def variables_of(self, port):
        return {"AWS_ACCESS_KEY_ID": "testkey", "AWS_SECRET_ACCESS_KEY": "testsecret",
                "AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-1",
                "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"}

    def upload(self, files):
        """Puts files under keys of the bucket: what is laid into the server's folder by hand has no
        ETag, as no object of S3 is."""
        run(["curl", "-sS", "--fail-early", "--config", config(self.setting.folder / "curl-put", [
            [f'url = "{self.url}/perf/{key}"', f'upload-file = "{path}"', *SIGNED]
            for key, path in files])])

    def put(self, path):
        self.upload([("object", path)])

    def put_small(self, count, size):
        folder = self.folder / "small"
        folder.mkdir()
        names = [f"{i:05}.bin" for i in range(count)]
        for name in names:
            (folder / name).write_bytes(os.urandom(size))
        self.upload([(f"small/{name}", folder / name) for name in names])

    def delayed(self, ms):
        """Starts a way to the server on which every byte takes `ms` longer; its variables."""
        relay = start([sys.executable, PERF / "peers" / "delay.py", DELAYED_PORT, S3_PORT, ms])
        self.setting.closing.callback(end, relay)
        for _ in range(100):
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{DELAYED_PORT}/health", timeout=5).close()
                return self.variables_of(DELAYED_PORT)
            time.sleep(0.05)
        raise Failed(f"no way to the S3 server through port {DELAYED_PORT}")

    def curl_config(self, count):
        return config(self.setting.folder / "curl-s3", [
            [f'url = "{self.url}/perf/object"', f"range = {first}-{last}",
             *SIGNED] for first, last in ranges(count)])


class WebHdfs:
    name, uri = "WebHDFS", f"webhdfs://127.0.0.1:{HDFS_PORT + 1}/tmp/object"
    variables = None

    def __init__(self, setting):
        self.folder, self.setting = setting.folder / "hdfs", setting
        setting.closing.callback(stop, self.folder)
        self.url, self.lacks = start_script("start-hdfs", "hdfs", {
            "HDFS_RUN": str(self.folder), "HDFS_PORT": str(HDFS_PORT)})
        self.web = f"{self.url}/webhdfs/v1/tmp/object"

    def put(self, path):
        run(["curl", "-sf", "-L", "-X", "PUT", "-T", path,
             f"{self.web}?op=CREATE&overwrite=true&user.name={getpass.getuser()}"])

    def curl_config(self, count):
        return config(self.setting.folder / "curl-webhdfs", [
            [f'url = "{self.web}?op=OPEN&offset={first}&length={last - first + 1}"']
            for first, last in ranges(count)])
