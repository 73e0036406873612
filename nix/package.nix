# The agent, bin/stage1, and the tool, bin/netstage:
#   pkgs.callPackage ./package.nix { }
{
  lib,
  buildGoModule,
  # go.mod asks for Go 1.26. Where that is nixpkgs' default, buildGoModule does.
  buildGo126Module ? buildGoModule,
  makeBinaryWrapper,
  squashfsTools,
  erofs-utils,
  version ? lib.removePrefix "v" (lib.fileContents ../VERSION),
  # When the sources were last changed, in seconds: the agent's clock is never
  # before that. Unlike SOURCE_DATE_EPOCH, which Nix builds have in 1980.
  lastModified ? 0,
}:

buildGo126Module {
  pname = "netstage";
  inherit version;

  # All Go sources: "go mod vendor", and so vendorHash, depends on the imports of
  # every package, tests included.
  src = lib.fileset.toSource {
    root = ../.;
    fileset = lib.fileset.unions (
      [
        ../go.mod
        ../go.sum
        ../VERSION
      ]
      ++ map (lib.fileset.fileFilter (file: !file.hasExt "nix")) [
        ../cmd
        ../debug
        ../fetch
        ../mount
        ../netup
        ../nix
        ../qemu-tests
        ../stage1
      ]
    );
  };

  # nix/vendor-hash.sh computes it, and a test compares.
  vendorHash = lib.fileContents ./vendor-hash;

  nativeBuildInputs = [ makeBinaryWrapper ];

  # Without cgo Go links statically, and at a fixed address: a program that can
  # be moved asks for a dynamic loader, and an initrd has none.
  env.CGO_ENABLED = "0";
  # Go strips; patchelf and strip of the fixup phase have nothing to add.
  dontStrip = true;
  dontPatchELF = true;

  buildPhase = ''
    runHook preBuild
    SOURCE_DATE_EPOCH=${toString lastModified} sh cmd/stage1/build.sh "$GOPATH/bin/stage1" ${version}
    go build -ldflags '-s -w -X main.version=${version}' -o "$GOPATH/bin/netstage" ./cmd/netstage
    runHook postBuild
  '';

  # The tests mount, open network namespaces and boot machines: they need root,
  # and run by "make test".
  doCheck = false;

  # mksquashfs and mkfs.erofs come along; nix-store and QEMU, where they are wanted, are the
  # caller's. The tool finds the agent beside itself.
  postInstall = ''
    share=$out/share
    mkdir -p $share/man/man1 $share/bash-completion/completions $share/zsh/site-functions $share/fish/vendor_completions.d
    $out/bin/netstage man $share/man/man1
    $out/bin/netstage completion bash >$share/bash-completion/completions/netstage
    $out/bin/netstage completion zsh >$share/zsh/site-functions/_netstage
    $out/bin/netstage completion fish >$share/fish/vendor_completions.d/netstage.fish
    wrapProgram $out/bin/netstage --suffix PATH : ${lib.makeBinPath [ squashfsTools erofs-utils ]}
  '';

  doInstallCheck = true;
  installCheckPhase = ''
    runHook preInstallCheck
    if ''${READELF:-readelf} -l $out/bin/stage1 | grep -q INTERP; then
      echo "stage1 is not static: it could not start in an initrd" >&2
      exit 1
    fi
    runHook postInstallCheck
  '';

  meta = {
    description = "First stage of booting NixOS machines over the network, and its tool";
    license = lib.licenses.mit;
    platforms = [
      "x86_64-linux"
      "aarch64-linux"
    ];
    mainProgram = "netstage";
  };
}
