# A toplevel of the classic kind without nixpkgs, to be built offline. Three
# folders are given: box holds bin/sh, a static busybox; nix holds nix-store with
# the loader and the libraries that it needs; kernel holds bzImage and lib/modules. Its stage 2 loads the
# registration of its image into an empty database, verifies every path, and
# switches the machine off.
{ box, nix, kernel }:

let
  box' = builtins.path { path = box; name = "box"; };
  nix' = builtins.path { path = nix; name = "nix"; };

  kernel' = builtins.path { path = kernel; name = "kernel"; };

  build = name: script: derivation {
    inherit name;
    system = builtins.currentSystem;
    builder = "${box'}/bin/sh";
    args = [ "-euc" script ];
    PATH = "${box'}/bin";
  };

  # A path that something else refers to, and that refers to itself.
  greeting = build "greeting" ''
    mkdir $out
    echo "greetings from $out" >$out/text
  '';

  # An init script that is too long for the builder's command line would have
  # to be a file; this one is short.
  init = builtins.toFile "stage-2-init.sh" ''
    #!${box'}/bin/sh
    export PATH=${box'}/bin HOME=/ USER=root
    nix_store() {
      ${nix'}/ld.so --library-path ${nix'} ${nix'}/nix-store --option build-users-group "" "$@"
    }
    mkdir -p /tmp /etc
    echo "stage 2: $(cat @greeting@/text)"
    nix_store --load-db </nix/store/nix-path-registration && echo "registration: accepted"
    echo "registered: $(nix_store --query --requisites @out@ | wc -l) paths of the toplevel"
    nix_store --verify --check-contents && echo "contents: verified"
    poweroff -f
  '';
in
build "nixos-system-tiny-25.05" ''
  mkdir $out
  sed "s|@greeting@|${greeting}|; s|@out@|$out|" ${init} >$out/init
  chmod 755 $out/init
  echo 25.05 >$out/nixos-version
  echo "loglevel=6 tiny" >$out/kernel-params
  ln -s ${kernel'}/bzImage $out/kernel
  ln -s ${kernel'} $out/kernel-modules
''
