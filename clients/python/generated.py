"""Generates clients for Go, Java and TypeScript from what a running Headgate says of itself, and builds them.

Each language's folder beside this one is copied to target/clients, where the generated code joins it: `rest` from the
server's OpenAPI document, `bank` from that of a model, and the gRPC client from the project's proto.
"""

import os
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

CLIENTS = Path(__file__).resolve().parent.parent
PROTO = CLIENTS.parent / "crates/contract/proto/inference.proto"
TARGET = CLIENTS.parent / "target/clients"
GENERATOR = "7.25.0"
DEPENDENCY = "org.apache.maven.plugins:maven-dependency-plugin:3.9.0"
FETCH_S = 300
BUILD_S = 240
RUN_S = 60
JAVA = ",".join([
    "openApiNullable=false", "hideGenerationTimestamp=true", "invokerPackage=headgate.{0}",
    "apiPackage=headgate.{0}.api", "modelPackage=headgate.{0}.model",
])
OPTIONS = {
    "go": ["-g", "go", "--additional-properties=packageName={0},withGoMod=false"],
    "java": ["-g", "java", "--library", "native", f"--additional-properties={JAVA}"],
    "typescript": ["-g", "typescript-fetch"],
}
# What Maven says where a download is refused or there is no network.
REFUSED = ["Could not transfer", "Could not find artifact", "could not be resolved", "offline mode", "No plugin found"]


class Missing(Exception):
    """A tool that is not installed, or a download that failed."""

    @classmethod
    def download(cls, error):
        return cls("a download failed: " + " ".join(str(error).split())[:300])


def need(*tools):
    for tool in tools:
        if not shutil.which(tool):
            raise Missing(f"{tool} is not installed")


def run(command, cwd, limit_s=BUILD_S, **environment):
    """Runs a command; what it said is in the error where it fails."""
    done = subprocess.run(command, cwd=cwd, env=os.environ | environment, timeout=limit_s, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))}: exit code {done.returncode}\n{done.stdout[-6000:]}")


def fetch(command, cwd):
    """Runs a command that does nothing but download; what it needs is missing where it fails."""
    try:
        run(command, cwd, FETCH_S)
    except (RuntimeError, subprocess.TimeoutExpired) as error:
        raise Missing.download(error) from error


def maven(arguments, cwd):
    """Maven with what was downloaded before; with the network only where that is not enough."""
    command = ["mvn", "-B", "-q", *arguments]
    for more, limit_s in ([["-o"], BUILD_S], [[], FETCH_S]):
        try:
            return run([*command, *more], cwd, limit_s)
        except (RuntimeError, subprocess.TimeoutExpired) as error:
            if isinstance(error, RuntimeError) and not any(words in str(error) for words in REFUSED):
                raise
            refused = error
    raise Missing.download(refused)


OUTCOMES = {}


def once(what, make):
    """What `make` returns or raises, and the same when asked again."""
    if what not in OUTCOMES:
        try:
            OUTCOMES[what] = make()
        except Exception as error:
            OUTCOMES[what] = error
    if isinstance(OUTCOMES[what], Exception):
        raise OUTCOMES[what]
    return OUTCOMES[what]


def generator():
    """The generator's jar."""
    need("java", "mvn")
    jar = TARGET / f"openapi-generator-cli-{GENERATOR}.jar"
    if not jar.is_file():
        TARGET.mkdir(parents=True, exist_ok=True)
        artifact = f"-Dartifact=org.openapitools:openapi-generator-cli:{GENERATOR}"
        maven([f"{DEPENDENCY}:copy", artifact, f"-DoutputDirectory={TARGET}"], TARGET)
    return jar


class Language:
    """A language's build folder. Doors: `openapi`, `model` and `grpc`."""

    def __init__(self, name, address):
        self.name, self.address = name, address
        self.folder = TARGET / name
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(CLIENTS / name, self.folder)

    def built(self, door):
        """The command that runs a door's program."""
        return once((self.name, door), lambda: self.build(door))

    def build(self, door):
        """Builds a door's program and returns the command that runs it."""
        raise NotImplementedError

    def generate(self, package, path):
        """A client of the document at this path, as this package."""
        document = TARGET / f"{self.name}-{package}.json"
        with urllib.request.urlopen(f"http://{self.address}{path}", timeout=30) as reply:
            document.write_bytes(reply.read())
        options = [option.format(package) for option in OPTIONS[self.name]]
        run(["java", "-jar", once("generator", generator), "generate", "-i", document, "-o", self.folder / package, *options], self.folder)

    def generate_for(self, door):
        if door == "openapi":
            self.generate("rest", "/openapi.json")
        if door == "model":
            self.generate("bank", "/v2/models/bank/openapi.json")


class Go(Language):
    TOOLS = ["google.golang.org/protobuf/cmd/protoc-gen-go", "google.golang.org/grpc/cmd/protoc-gen-go-grpc"]

    def build(self, door):
        need("go")
        self.generate_for(door)
        if door == "grpc":
            self.protoc()
        run(["go", "vet", f"./{door}"], self.folder)
        run(["go", "build", "-trimpath", "-o", f"bin/{door}", f"./{door}"], self.folder)
        return [self.folder / "bin" / door]

    def protoc(self):
        try:
            import grpc_tools  # noqa: F401
        except ImportError as error:
            raise Missing("protoc: grpcio-tools is not installed") from error
        # Downloads what is needed of the modules, and no more.
        fetch(["go", "list", "-deps", "google.golang.org/grpc", *self.TOOLS], self.folder)
        run(["go", "install", *self.TOOLS], self.folder, GOBIN=str(self.folder / "bin"))
        plugins = [f"--plugin=bin/{name}" for name in ("protoc-gen-go", "protoc-gen-go-grpc")]
        out = [f"--{kind}_{what}" for kind in ("go", "go-grpc") for what in ("out=.", "opt=module=headgate")]
        run([sys.executable, "-m", "grpc_tools.protoc", *plugins, *out, f"-I{PROTO.parent}", PROTO.name], self.folder)


class TypeScript(Language):
    def build(self, door):
        need("node", "npm")
        if not (self.folder / "node_modules").is_dir():
            fetch(["npm", "ci", "--prefer-offline", "--ignore-scripts", "--no-audit", "--no-fund"], self.folder)
        self.generate_for(door)
        tools = self.folder / "node_modules/.bin"
        if door == "grpc":
            shutil.copy(PROTO, self.folder)
            options = ["--longs=Number", "--enums=String", "--defaults", "--oneofs", "--keepCase"]
            out = ["--grpcLib=@grpc/grpc-js", "--outDir=inference"]
            run([tools / "proto-loader-gen-types", *options, *out, PROTO.name], self.folder)
        run([tools / "tsc", "-p", f"tsconfig.{door}.json"], self.folder)
        return ["node", self.folder / "built" / f"{door}.js"]


class Java(Language):
    def build(self, door):
        """All doors are one Maven project: what is generated later is compiled with what is there."""
        need("java", "mvn")
        once("maven project", self.compile)
        program = {"openapi": "OpenApi", "model": "OneModel", "grpc": "Grpc"}[door]
        return ["java", "-cp", f"{self.folder}/target/classes:{self.folder}/lib/*", f"headgate.{program}"]

    def compile(self):
        for door in ("openapi", "model"):
            self.generate_for(door)
        (self.folder / "proto").mkdir()
        shutil.copy(PROTO, self.folder / "proto")
        maven(["compile", f"{DEPENDENCY}:copy-dependencies", "-DoutputDirectory=lib"], self.folder)


LANGUAGES = {"go": Go, "java": Java, "typescript": TypeScript}
