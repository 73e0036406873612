package nix

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// inNix evaluates an expression.
func inNix(t *testing.T, expression string) (string, error) {
	t.Helper()
	store := t.TempDir()
	t.Cleanup(func() { exec.Command("chmod", "-R", "u+w", store).Run() })
	cmd := exec.Command("nix-instantiate", "--store", store, "--option", "build-users-group", "", "--read-write-mode", "--eval", "--strict", "--json", "-E", expression)
	cmd.Env = append(os.Environ(), "HOME="+store)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// The package evaluates, and what it is made of are the project's folders.
func TestPackage(t *testing.T) {
	eachLib(t, func(t *testing.T, lib string) {
		if lib == "" {
			lib = "./testdata/stub-lib.nix"
		}
		const pkgs = "let lib = import LIB; pkgs = import ./testdata/stub-pkgs.nix { inherit lib; }; in "
		in := strings.ReplaceAll(pkgs, "LIB", lib)
		out, err := inNix(t, in+`let p = pkgs.callPackage ./package.nix { version = "1"; lastModified = 7; }; in [ p.name p.vendorHash p.buildPhase p.meta.platforms p.env ]`)
		if err != nil {
			t.Fatal(out)
		}
		expectAll(t, "package", out, `"netstage-1"`, "sha256-", "SOURCE_DATE_EPOCH=7", "aarch64-linux", `"CGO_ENABLED":"0"`)
		// What nixpkgs refuses, the stand-in does.
		for wrong, want := range map[string]string{
			`pkgs.buildGoModule { pname = "x"; version = "1"; src = "/"; vendorHash = ""; hardeningDisable = [ "pie" ]; }`: "unsupported hardening flags",
			`(lib.fileset.fileFilter (_: true) (lib.fileset.unions [ ./. ])).files`:                                        "should be a path instead",
			`(lib.fileset.unions [ ./no-such-folder ]).files`:                                                              "",
		} {
			if out, err := inNix(t, in+wrong); want != "" && (err == nil || !strings.Contains(out, want)) {
				t.Errorf("%s: %s", wrong, out)
			}
		}
	})
}
