# What of nixpkgs' packages the project's Nix files use: derivations that are
# their names and scripts.
{
  lib,
  package ? "/package",
  closure ? "/closure",
  toplevel ? "",
  work ? "/outputs",
  e2fsprogs ? "/e2fsprogs",
  store ? "",
  system ? "x86_64-linux",
}:
let
  derivation' = name: script: {
    type = "derivation";
    inherit name script;
    outPath = "${work}/${name}";
  };
  platform = {
    isx86 = system == "x86_64-linux";
    isBigEndian = false;
    inherit system;
  };
  file = name: text: store + builtins.unsafeDiscardStringContext (builtins.toFile name text);

  # As pkgs/stdenv/generic/make-derivation.nix since 26.05: pie is no flag any more.
  flags = [ "bindnow" "format" "fortify" "fortify3" "glibcxxassertions" "libcxxhardeningextensive" "libcxxhardeningfast" "nostrictaliasing" "pacret" "pic" "relro" "shadowstack" "stackclashprotection" "stackprotector" "strictflexarrays1" "strictflexarrays3" "strictoverflow" "trivialautovarinit" "zerocallusedregs" "all" ];
  mkDerivation =
    attrs:
    let
      unknown = builtins.filter (f: !(builtins.elem f flags)) (attrs.hardeningDisable or [ ]);
      wrong = builtins.filter (n: builtins.isFunction attrs.${n}) (builtins.attrNames attrs);
    in
    if unknown != [ ] then
      throw "mkDerivation was called with unsupported hardening flags: ${toString unknown}"
    else if wrong != [ ] then
      throw "mkDerivation: ${toString wrong} can't be the value of an environment variable"
    else
      attrs // { type = "derivation"; name = "${attrs.pname}-${attrs.version}"; outPath = package; };

  pkgs = {
    inherit lib;
    callPackage = path: arguments: let f = import path; in f (builtins.intersectAttrs (builtins.functionArgs f) pkgs // arguments);
    buildGoModule = { pname, version, src, vendorHash, ... }@attrs: builtins.seq (toString src + vendorHash) (mkDerivation attrs);
    makeBinaryWrapper = "/make-binary-wrapper";
    squashfsTools = "/squashfs-tools";
    erofs-utils = "/erofs-utils";
    runCommand = name: _: script: derivation' name script;
    writeText = file;
    writeShellScript = file;
    writeShellScriptBin = name: script: derivation' name script;
    closureInfo = { rootPaths }: assert builtins.elem toplevel rootPaths; closure;
    cacert = "/cacert";
    coreutils = "/coreutils";
    dosfstools = "/dosfstools";
    inherit e2fsprogs;
    f2fs-tools = "/f2fs-tools";
    gnugrep = "/gnugrep";
    kbd = "/kbd";
    util-linux = "/util-linux";
    qemu = "/qemu";
    shadow = "/shadow";
    stdenv = {
      hostPlatform = platform;
      buildPlatform = platform;
    };
    buildPackages = pkgs;
  };
in
pkgs
