package kmod

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"netstage/stage1/modindex"
)

const modprobeUsage = `usage: modprobe [-qvnDbia] [-d ROOT] [-S VERSION] NAME [PARAM=VALUE]...
       modprobe [options] -a NAME...
       modprobe -r NAME...
NAME is a module or an alias of one (a modalias, net-pf-10, fs-squashfs).
  -a  all arguments are names     -r  remove
  -n  do nothing (--dry-run)      -D  print what would be loaded (--show-depends)
  -q  say nothing of unknown names  -v  say what is done
  -b  obey the blacklist for names too
  -i  load NAME itself, whatever command modprobe.d has for it
`

type modprobeArgs struct {
	all, remove, dry, show, quiet, verbose, blacklist, ignoreInstall, help bool

	root, version string
	names         []string
	params        string
	plain         []string // modules whose install commands are passed over
}

// ModprobeMain is the modprobe applet: the kernel starts it for
// request_module() as "modprobe -q -- NAME", and people by hand. args are
// without argv[0]. It returns the exit status.
func ModprobeMain(args []string, stdout, stderr io.Writer) int {
	fail := func(err error) int {
		fmt.Fprintf(stderr, "modprobe: %v\n", err)
		return 1
	}
	a, err := parseModprobe(args)
	if err != nil {
		fmt.Fprint(stderr, modprobeUsage)
		return fail(err)
	}
	if a.help {
		fmt.Fprint(stdout, modprobeUsage)
		return 0
	}
	ix, err := a.open(stderr)
	if err != nil {
		return fail(err)
	}
	if name := os.Getenv(moduleVariable); name != "" {
		a.plain = append(a.plain, name)
	}
	status := 0
	for _, name := range a.names {
		if err := a.one(ix, name, stdout); err != nil {
			status = 1
			if !a.quiet || !errors.Is(err, modindex.ErrNotFound) {
				fail(err)
			}
		}
	}
	return status
}

func parseModprobe(args []string) (modprobeArgs, error) {
	var a modprobeArgs
	flags := map[string]*bool{
		"-a": &a.all, "--all": &a.all, "-r": &a.remove, "--remove": &a.remove,
		"-n": &a.dry, "--dry-run": &a.dry, "--show": &a.dry, "-D": &a.show, "--show-depends": &a.show,
		"-q": &a.quiet, "--quiet": &a.quiet, "-s": new(bool), "--syslog": new(bool),
		"-v": &a.verbose, "--verbose": &a.verbose, "-b": &a.blacklist, "--use-blacklist": &a.blacklist,
		"-i": &a.ignoreInstall, "--ignore-install": &a.ignoreInstall, "--ignore-remove": new(bool),
		"-h": &a.help, "--help": &a.help,
	}
	values := map[string]*string{"-d": &a.root, "--dirname": &a.root, "-S": &a.version, "--set-version": &a.version}
	var rest []string
	for i := 0; i < len(args); i++ {
		arg := args[i]
		if arg == "--" {
			rest = append(rest, args[i+1:]...)
			break
		}
		if len(arg) < 2 || arg[0] != '-' {
			rest = append(rest, arg)
			continue
		}
		if long, value, ok := strings.Cut(arg, "="); ok && values[long] != nil {
			*values[long] = value
			continue
		}
		letters := []string{arg}
		if arg[1] != '-' {
			letters = strings.Split("-"+strings.Join(strings.Split(arg[1:], ""), "\x00-"), "\x00")
		}
		for _, f := range letters {
			switch {
			case flags[f] != nil:
				*flags[f] = true
			case values[f] != nil && i+1 < len(args):
				i++
				*values[f] = args[i]
			default:
				return a, fmt.Errorf("unknown option %s", arg)
			}
		}
	}
	if len(rest) == 0 && !a.help {
		return a, errors.New("no module is named")
	}
	a.names = rest
	if !a.all && !a.remove && len(rest) > 1 {
		a.names, a.params = rest[:1], strings.Join(rest[1:], " ")
	}
	return a, nil
}

// open reads the index and the configuration, whose faults are told and borne.
func (a *modprobeArgs) open(stderr io.Writer) (*modindex.Index, error) {
	if a.version == "" {
		release, err := Release()
		if err != nil {
			return nil, err
		}
		a.version = release
	}
	ix, err := modindex.Open(filepath.Join("/", a.root, "lib/modules", a.version))
	if err != nil {
		return nil, err
	}
	dirs := modindex.ConfigDirs
	for i := range dirs {
		dirs[i] = filepath.Join("/", a.root, dirs[i])
	}
	config, err := modindex.ReadConfigDirs(dirs[:]...)
	if err != nil {
		fmt.Fprintf(stderr, "modprobe: %v\n", err)
	}
	ix.Use(config)
	return ix, nil
}

func (a *modprobeArgs) one(ix *modindex.Index, name string, stdout io.Writer) error {
	wanted, err := ix.Find(name)
	if err != nil {
		return err
	}
	if a.blacklist {
		wanted = ix.Allowed(wanted)
	}
	for _, t := range wanted {
		ix.Config().SetParams(t.Name, a.params)
		if a.ignoreInstall {
			a.plain = append(a.plain, t.Name)
		}
	}
	if a.remove {
		return removeAll(ix, wanted, a.dry)
	}
	if a.show || a.verbose {
		if len(wanted) == 0 && ix.Builtin(name) {
			fmt.Fprintf(stdout, "builtin %s\n", modindex.Name(name))
		}
		for _, n := range wanted {
			order, _ := ix.Order(n.Name)
			for _, m := range order {
				path, _ := ix.Path(m)
				alias := ""
				if m == n.Name {
					alias = n.Alias
				}
				params := ix.Config().Params(m, alias)
				if command := ix.Config().Install(m); command != "" && !slices.Contains(a.plain, m) {
					fmt.Fprintf(stdout, "install %s\n", strings.ReplaceAll(command, "$CMDLINE_OPTS", params))
					continue
				}
				fmt.Fprintf(stdout, "insmod %s %s\n", path, params)
			}
		}
	}
	if a.show || a.dry {
		return nil
	}
	l := NewLoader(ix, slog.New(slog.DiscardHandler))
	l.plain = a.plain
	_, errs := l.loadModules(context.Background(), wanted)
	return errors.Join(errs...)
}

// removeAll unloads modules, and then what only they needed.
func removeAll(ix *modindex.Index, modules []modindex.Target, dry bool) error {
	if dry {
		return nil
	}
	for _, m := range modules {
		if err := Remove(m.Name, false); err != nil {
			return err
		}
		for _, d := range slices.Backward(ix.Depends(m.Name)) {
			_ = Remove(d, false) // still in use by another one: stays
		}
	}
	return nil
}

// Release is the version of the kernel that runs, as uname -r prints it.
func Release() (string, error) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "", fmt.Errorf("uname: %w", err)
	}
	return unix.ByteSliceToString(u.Release[:]), nil
}
