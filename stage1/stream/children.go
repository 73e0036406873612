package stream

import (
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// quickDeath is how long a worker that took another's place must have lived:
// one that dies sooner ends the machine's hope.
const quickDeath = time.Minute

// hearWorker hears a word, or the worker's end.
func (h *holder) hearWorker() error {
	n, err := unix.Read(h.line, h.message[:])
	switch {
	case err == unix.EINTR, err == nil && n > 0 && h.message[0] == wordCame:
		return nil
	case err == nil && n > 0 && h.message[0] == wordSwap:
		h.swapped = true
		return nil
	}
	unix.Close(h.line)
	state, err := h.worker.Wait()
	h.worker, h.line = nil, -1
	if h.swapped {
		return nil
	}
	now := time.Now()
	how := fmt.Sprint(state)
	if err != nil {
		how = err.Error()
	}
	if !h.born.IsZero() && h.heartbeat.died(now).Sub(h.born) < quickDeath {
		return fmt.Errorf("the process that fetches ended twice within a minute (%s)", how)
	}
	h.born = now
	h.say(fmt.Sprintf("the process that fetches ended (%s); another one goes on at %d of %d MiB", how, h.shared.have()>>20, h.spec.Size>>20))
	h.shared.add(wordRestarts, 1)
	return h.startWorker()
}

// startWorker starts a worker and tells it what waits.
func (h *holder) startWorker() error {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	theirs := os.NewFile(uintptr(pair[1]), "worker")
	defer theirs.Close()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	h.worker, err = os.StartProcess("/proc/self/exe", []string{Name, roleWork}, &os.ProcAttr{
		Env: environment,
		Files: []*os.File{null, null, null, os.NewFile(holderSpec, "spec"), theirs, h.image, h.shared.file,
			os.NewFile(holderTree, "tree"), os.NewFile(holderKernel, "kernel")},
		Sys: &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		unix.Close(pair[0])
		return err
	}
	h.line = pair[0]
	h.heartbeat.begins(time.Now(), h.shared.get(wordBeat))
	h.needAll()
	return nil
}

// startReader starts the process that reads what a shutdown takes. The machine
// does without it.
func (h *holder) startReader() {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return
	}
	defer null.Close()
	reader, err := os.StartProcess("/proc/self/exe", []string{Name, roleRead}, &os.ProcAttr{
		Env: environment, Files: []*os.File{null, null, null}, Sys: &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		h.say("read what a shutdown takes: " + err.Error())
		return
	}
	h.reader = reader
}

// endReader ends it, once no read waits.
func (h *holder) endReader() {
	if h.reader != nil {
		h.reader.Kill()
		h.reader.Wait()
	}
}

// reapReader takes its end, if that has come.
func (h *holder) reapReader() {
	if h.reader == nil {
		return
	}
	if pid, err := unix.Wait4(h.reader.Pid, nil, unix.WNOHANG, nil); pid != 0 && err != unix.EINTR {
		h.reader = nil
	}
}
