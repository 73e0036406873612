package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"time"

	"golang.org/x/term"

	"netstage/cmd/stage1/bootcmd"
	"netstage/debug/applets"
	"netstage/debug/console"
	"netstage/debug/shell"
	"netstage/mount/block"
	"netstage/netup/ipcmd"
	"netstage/stage1/kmod"
	"netstage/stage1/pid1"
)

// tools are the utilities of the debug shell, each run in a process of its
// own under its name.
func tools() map[string]applets.Func {
	return applets.Table(applets.Options{
		Wget: download,
		Extra: map[string]applets.Func{
			"boot": func(ctx context.Context, args []string, _ io.Reader, stdout, stderr io.Writer) int {
				o := bootcmd.Options{}
				if file, ok := stdout.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
					o.Width, _ = console.Size(int(file.Fd()))
				}
				return bootcmd.Main(ctx, args[1:], stdout, stderr, o)
			},
			"ip": func(_ context.Context, args []string, _ io.Reader, stdout, stderr io.Writer) int {
				return ipcmd.Main(args[1:], stdout, stderr)
			},
			"ping": func(ctx context.Context, args []string, _ io.Reader, stdout, stderr io.Writer) int {
				return ipcmd.PingMain(ctx, args[1:], stdout, stderr)
			},
			"modprobe": func(_ context.Context, args []string, _ io.Reader, stdout, stderr io.Writer) int {
				return kmod.ModprobeMain(args[1:], stdout, stderr)
			},
			"rmmod": func(_ context.Context, args []string, _ io.Reader, stdout, stderr io.Writer) int {
				return kmod.RmmodMain(args[1:], stdout, stderr)
			},
			"blkid": func(_ context.Context, _ []string, _ io.Reader, stdout, _ io.Writer) int {
				return block.BlkidMain(stdout)
			},
			"switch_root": func(_ context.Context, args []string, _ io.Reader, _, stderr io.Writer) int {
				fmt.Fprintf(stderr, "switch_root: %v\n", switchRoot(args[1:], nil))
				return 1
			},
		},
	})
}

// runTool runs a utility, or the shell for them.
func runTool(name string, args []string) int {
	table := tools()
	if name == "sh" {
		expose()
		var replace map[string]func(args, env []string) error
		if os.Getpid() == 1 {
			go pid1.ReapOrphans()
			replace = map[string]func(args, env []string) error{"exec": pid1.Exec, "switch_root": switchRoot}
		}
		names := append(slices.Sorted(maps.Keys(table)), "sh")
		status, err := shell.Run(context.Background(), shell.Options{
			Args: args, Exe: "/proc/self/exe", Applets: names, Prompt: "stage1", Replace: replace,
			Words: func(command string, args []string) []string {
				if command == "boot" {
					return bootcmd.Complete(args)
				}
				return nil
			},
			Greeting: `This is the initrd's shell. "help" lists its utilities, "exit" leaves it.`,
		})
		if err != nil {
			fmt.Fprintln(os.Stderr, "sh:", err)
		}
		return status
	}
	tool, ok := table[name]
	if !ok {
		fmt.Fprintf(os.Stderr, "stage1: there is no utility %q; help lists them\n", name)
		return 127
	}
	return tool(context.Background(), append([]string{name}, args...), os.Stdin, os.Stdout, os.Stderr)
}

// switchRoot is what the shell that is PID 1 does in place of the boot's end.
func switchRoot(args, _ []string) error {
	if len(args) < 2 {
		return errors.New("usage: switch_root NEWROOT INIT [ARGUMENT...]")
	}
	return pid1.SwitchRoot(say, args[0], args[1:])
}

// download is wget's: one plain request. What resumes and verifies is the
// step "image", not a tool to look around with.
func download(ctx context.Context, url string, w io.Writer) error {
	client := http.Client{Transport: &http.Transport{ResponseHeaderTimeout: 20 * time.Second}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("get %s: the server answered %s", url, response.Status)
	}
	_, err = io.Copy(w, response.Body)
	return err
}
