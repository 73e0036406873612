package main

import (
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"

	"netstage/fetch/ref"
	"netstage/fetch/vouch"
	"netstage/nix"
)

// vouching are the flags that say what vouches for an image.
type vouching struct {
	sha256, rootHash, init  string
	trees, manifests, trust list
	keyLists                list
	threshold               int
}

func (v *vouching) flags(fs *pflag.FlagSet) {
	givenVar(fs, &v.sha256, "sha256", "the image's SHA-256 `DIGEST`: hex, nix32 or SRI")
	givenVar(fs, &v.rootHash, "roothash", "the root `DIGEST` of the image's verity tree")
	fs.Var(&v.trees, "verity", "the verity tree `REF` (default beside the image, with .verity appended); may be repeated")
	fs.Var(&v.manifests, "manifest", "the signed manifest `REF`; may be repeated")
	fs.Var(&v.trust, "trusted", "a public key `FILE` that may sign; may be repeated")
	fs.IntVar(&v.threshold, "signatures", 1, "how many of the trusted keys have to sign, `NUMBER`")
	fs.Var(&v.keyLists, "keylist", "the signed list of other keys `REF`; may be repeated")
	givenVar(fs, &v.init, "init", "the init `PATH` that a machine would be told; the manifest must name it")
}

// place is a REF of the tool's: a URL, or a file by any path.
func place(text string) (ref.Location, error) {
	if strings.Contains(text, "://") {
		return ref.Parse(text)
	}
	path, err := filepath.Abs(text)
	return ref.FileAt(path), err
}

// order is what the flags ask for, with images by REF.
func (v *vouching) order(images []string) (vouch.Order, error) {
	var o vouch.Order
	var err error
	pin := func(name, text string) (digest []byte) {
		if err != nil || text == "" {
			return nil
		}
		var wrong error
		if digest, wrong = nix.ParseSHA256(text); wrong != nil {
			err = usageError(name + ": " + wrong.Error())
		}
		return digest
	}
	places := func(refs []string) (out []ref.Location) {
		for _, text := range refs {
			l, wrong := place(text)
			if wrong != nil && err == nil {
				err = usageError(wrong.Error())
			}
			out = append(out, l)
		}
		return out
	}
	o = vouch.Order{Images: places(images), SHA256: pin("--sha256", v.sha256), RootHash: pin("--roothash", v.rootHash),
		Trees: places(v.trees), Manifests: places(v.manifests), KeyLists: places(v.keyLists), Threshold: v.threshold, Init: v.init}
	if err != nil {
		return o, err
	}
	if len(v.manifests) > 0 && len(v.trust) == 0 {
		return o, usageError("--manifest needs --trusted KEY.pub: whose signature counts?")
	}
	o.Keys, err = loadTrusted(v.trust)
	return o, err
}
