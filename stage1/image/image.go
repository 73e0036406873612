// Package image gets the image: what is wanted, from where, and what vouches
// for it.
package image

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"netstage/fetch"
	"netstage/fetch/kept"
	"netstage/fetch/manifest"
	"netstage/fetch/ref"
	"netstage/fetch/store"
	"netstage/fetch/vouch"
	"netstage/mount"
	"netstage/stage1/config"
	"netstage/stage1/fault"
	"netstage/stage1/report"
)

// Dir is where the file system is mounted that a fetched image lies in.
const Dir = "/image"

// Media are the disks that an image may be on.
type Media interface {
	Path(ctx context.Context, l ref.Location) (string, error)
	Close() error
}

// A Network is the one that leads to the image.
type Network struct {
	MAC   net.HardwareAddr
	Cache string   // of images, as DHCP says; may be empty
	Base  ref.Base // what relative references mean there
	Dial  func(ctx context.Context, network, address string) (net.Conn, error)
}

// A Getter gets the image that Config asks for.
type Getter struct {
	Log      *slog.Logger
	Config   config.Config
	Initrd   string // the folder with the initrd's files
	Agent    string // this program and its version
	Network  *Network
	Media    Media
	Cache    Media // for the disk with the images of earlier boots
	Progress func(fetch.Progress)
	Store    func() store.Store // where an image is kept; nil: in memory, at Dir
	// Stream is vouch.Order's, for Config.Stream; may be nil.
	Stream func(context.Context, vouch.Streamed) (*vouch.Streaming, error)
	// Clock is set before certificates are judged; may be nil.
	Clock func(context.Context)
	// Valid and Highest are vouch.Order's.
	Valid   func(name string, created, notBefore, notAfter time.Time) error
	Highest func(name string) uint64

	// OfflineAfter is how long servers may bring nothing before the image of an
	// earlier boot is used, where the policy allows that; 0: a minute.
	OfflineAfter time.Duration

	seed []vouch.Seed // images of earlier boots
	// How long a disk may take to answer, 0 for ever, and how many bytes of a
	// file on it are the image; nil: mount.LengthOf.
	patience time.Duration
	lengthOf func(*os.File) (int64, error)
}

// log is for lines about the image. What is fetched for it names itself.
func (g *Getter) log() *slog.Logger { return g.Log.With("what", "image") }

// Image is an image with what is known of it.
type Image struct {
	File   *os.File
	Tree   *vouch.Tree // nil: it is not mounted through dm-verity
	Report report.Image
	Init   string // the one that was signed, or empty
	// Kept is what there is to say of it where it is to be kept for later
	// boots: it came from a server, and something vouches for it. Else nil.
	Kept *kept.Order
}

// Close gives the image up.
func (i *Image) Close() error {
	err := i.File.Close()
	if i.Tree != nil {
		err = errors.Join(err, i.Tree.File.Close())
	}
	return err
}

// Get finds the image in the initrd or fetches it, with all that vouches for
// it. A disk and servers that are to have it are asked side by side.
func (g *Getter) Get(ctx context.Context) (*Image, error) {
	all := g.Config.Images(g.Initrd)
	if g.Config.CacheDisk.Kind == ref.Device {
		return g.cached(ctx, all)
	}
	return g.fromAny(ctx, all)
}

// fromAny gets the image from wherever the references lead.
func (g *Getter) fromAny(ctx context.Context, all []ref.Location) (*Image, error) {
	switch here, servers := g.kinds(all); {
	case len(here) > 0 && len(servers) > 0:
		return g.either(ctx, here, servers)
	case len(here) > 1:
		last := len(here) - 1
		return g.inTurn(ctx, here[:last], func() (*Image, error) { return g.get(ctx, here[last:]) })
	}
	return g.get(ctx, all)
}

// get gets the image from one kind of place.
func (g *Getter) get(ctx context.Context, images []ref.Location) (*Image, error) {
	order, err := g.Order(ctx, images)
	if err != nil {
		return nil, err
	}
	if g.Clock != nil && usesHTTPS(order) {
		g.Clock(ctx)
	}
	got, err := vouch.Get(ctx, order)
	if err != nil {
		return nil, err
	}
	copied := order.Load != nil
	if copied { // its disk has done its part
		if err := g.Media.Close(); err != nil {
			return nil, errors.Join(err, got.Close())
		}
	}
	image := &Image{File: got.File, Tree: got.Tree, Report: reportOf(got)}
	image.Report.Cached = got.Seeded
	if got.Signed != nil {
		image.Init = got.Init
	}
	if g.Config.CacheDisk.Kind == ref.Device && (got.Stats.Requests > 0 || got.Seeded > 0 || order.Stream != nil) {
		image.Kept = keepOf(g.Config, got)
	}
	if got.Stats.Requests == 0 && got.Seeded == 0 && order.Stream == nil {
		g.log().Info(fmt.Sprintf("%s, %d MiB", g.describe(got.Source, copied), got.Size>>20))
	}
	return image, nil
}

// Order says which of the images is wanted and what must vouch for it.
func (g *Getter) Order(ctx context.Context, images []ref.Location) (vouch.Order, error) {
	c := g.Config
	keys, err := manifest.LoadKeys(os.DirFS(g.Initrd), config.TrustedKeys[1:])
	if err != nil {
		return vouch.Order{}, &fault.Error{Class: fault.Policy, Cause: err}
	}
	o := vouch.Order{SHA256: c.SHA256, RootHash: c.RootHash, Keys: keys, NotBefore: c.Newer, KeepTree: c.MountVerity,
		Threshold: c.Policy.Signatures, Version: c.Policy.Manifest, Name: c.Name, Valid: g.Valid, Highest: g.Highest, Cmdline: c.CheckCmdline}
	if len(keys) > 0 && o.Threshold > len(keys) {
		return o, fault.Errorf(fault.Policy, "the initrd's policy wants %d signatures, and it has %d keys in %s", o.Threshold, len(keys), config.TrustedKeys)
	}
	if c.WantInit {
		o.Init = c.Init
	}
	if o.Images, err = g.locations(ctx, images); err != nil {
		return o, err
	}
	if o.Trees, err = g.mirrors(ctx, c.Verity); err != nil {
		return o, err
	}
	if o.Manifests, err = g.mirrors(ctx, c.Manifest); err != nil {
		return o, err
	}
	if o.KeyLists, err = g.mirrors(ctx, c.KeyLists); err != nil {
		return o, err
	}
	signed := len(keys) > 0 || len(c.Manifest) > 0
	pinned := slices.ContainsFunc(o.Images, artifactIsPinned)
	switch {
	case signed:
	case len(o.Images) == 0:
		return o, fault.Errorf(fault.NoImage, "no rootfs= was given, and the initrd has no %s", config.LocalImage)
	case c.SHA256 != nil || c.RootHash != nil || pinned:
	case slices.ContainsFunc(c.Rootfs, artifactIsPinned):
		return o, fault.Errorf(fault.Policy, "%s: a digest of what a registry has says nothing of this image: give rootfs.sha256= or rootfs.roothash=, too", o.Images[0])
	case c.Policy.RequireVouched && len(inRegistries(o.Images)) > 0:
		return o, fault.Errorf(fault.Policy, "%s: a tag vouches for nothing, and the initrd wants that something does: give the digest, HOST/NAME@sha256:DIGEST, or rootfs.roothash=", o.Images[0])
	case c.Policy.RequireVouched:
		return o, fault.Errorf(fault.Policy, "nothing vouches for the image, and the initrd wants that something does: give rootfs.sha256= or rootfs.roothash=")
	case len(inRegistries(o.Images)) > 0:
		g.log().Warn("nothing vouches for it, a tag does not; give its digest, HOST/NAME@sha256:DIGEST")
	default:
		g.log().Warn("nothing vouches for it; give rootfs.sha256=")
	}
	if o.Fetch, err = g.request(); err != nil {
		return o, err
	}
	if g.copies(signed, o.Images) {
		o.Load, o.Patience = mount.LengthOf, g.patience
		if g.lengthOf != nil {
			o.Load = g.lengthOf
		}
	}
	if c.Stream {
		o.Stream = g.Stream
	}
	o.Seeds = g.seed
	g.warnOfNoAuthorities(o)
	if o.Credentials, err = g.credentials(); err != nil {
		return o, err
	}
	o.Fetch.Bearer, err = g.bearer(o)
	return o, err
}

func (g *Getter) base() ref.Base {
	if g.Network == nil { // or one that an operator has made
		return ref.Base{Rootfs: g.Config.Base}
	}
	return g.Network.Base
}

func (g *Getter) store() store.Store {
	if g.Store != nil {
		return g.Store()
	}
	return store.Memory(Dir)
}

// request says how to fetch.
func (g *Getter) request() (fetch.Request, error) {
	r := fetch.Request{
		Store: g.store(), UserAgent: g.Agent, LowSpeed: g.Config.LowSpeed, Log: g.Log, Progress: g.Progress,
	}
	var err error
	if g.Config.Proxy != "" {
		proxy, err := config.ParseProxy(g.Config.Proxy)
		if err != nil {
			return r, err
		}
		r.Proxy = http.ProxyURL(proxy)
	}
	if r.Roots, err = Authorities(g.Config.CA, filepath.Join(g.Initrd, config.OwnCA)); err != nil || g.Network == nil {
		return r, err
	}
	seed := fnv.New64a()
	seed.Write(g.Network.MAC)
	r.Dial, r.Seed, r.Cache = g.Network.Dial, seed.Sum64(), g.cache()
	return r, nil
}

func reportOf(i *vouch.Image) report.Image {
	r := report.Image{Source: i.Source, Size: i.Size, SHA256: hex.EncodeToString(i.SHA256), RootHash: hex.EncodeToString(i.RootHash)}
	if i.Signed != nil {
		r.Manifest = &report.Manifest{Source: i.Signed.Source, Name: i.Signed.Name, Key: strings.Join(i.Signed.Keys.IDs(), " "), Serial: i.Signed.Serial, Digest: hex.EncodeToString(i.Signed.SHA256[:]), KeyList: i.Signed.List}
	}
	return r
}
