// Package containerd finds the node's containerd, or starts one of its own.
//
// A containerd that already answers is used as it is. Otherwise, as root and where the programs are installed, Start
// runs one with configuration, images, state and socket below the node's directory, so that it meets no other. It is
// not a child in spirit: it has a session of its own and outlives this process, because containers write their logs
// through it; the next Start finds it again. Stop ends it when nothing runs in it any more.
package containerd

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"text/template"
	"time"

	"github.com/distribution/reference"
	"golang.org/x/sys/unix"

	"pintle.dev/node/oci"
)

// DefaultSocket is where a containerd of the host listens.
const DefaultSocket = "/run/containerd/containerd.sock"

// startWithin is how long a containerd may take until it answers.
const startWithin = 20 * time.Second

// Config is where a containerd is looked for and kept.
type Config struct {
	Dir    string // of an own containerd
	Socket string // of the host's; "" for DefaultSocket, "none" to always run an own one
	CNIDir string // of the pod network's configuration
}

// Containerd is a running containerd.
type Containerd struct {
	Socket string
	Own    bool // its configuration is Pintle's
	dir    string
}

// ErrAbsent says that there is no containerd and why none can be started.
var ErrAbsent = errors.New("no containerd")

// Start finds a containerd or starts one, and waits until it answers.
func Start(ctx context.Context, cfg Config) (*Containerd, error) {
	host := cfg.Socket
	if host == "" {
		host = DefaultSocket
	}
	if host != "none" && answers(host) {
		return &Containerd{Socket: host}, nil
	}
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("finding containerd's directory: %w", err)
	}
	c := &Containerd{Socket: socketPath(dir), Own: true, dir: dir}
	if answers(c.Socket) {
		return c, nil
	}
	program, err := installed()
	if err != nil {
		return nil, err
	}
	if err := c.configure(cfg); err != nil {
		return nil, err
	}
	return c, c.run(ctx, program)
}

// installed finds the programs, or says what is missing.
func installed() (string, error) {
	if os.Geteuid() != 0 {
		return "", fmt.Errorf("%w: none answers at %s, and only root can start one", ErrAbsent, DefaultSocket)
	}
	program, err := exec.LookPath("containerd")
	if err != nil {
		return "", fmt.Errorf("%w: the program containerd is not installed (Debian: apt-get install containerd)", ErrAbsent)
	}
	if _, err := exec.LookPath("runc"); err != nil {
		return "", fmt.Errorf("%w: the program runc is not installed (Debian: apt-get install runc)", ErrAbsent)
	}
	if _, err := plugins(); err != nil {
		return "", err
	}
	return program, nil
}

// plugins is the directory of the CNI plugins.
func plugins() (string, error) {
	for _, dir := range []string{"/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni"} {
		if _, err := os.Stat(filepath.Join(dir, "bridge")); err == nil {
			return dir, nil
		}
	}
	return "", fmt.Errorf("%w: the CNI plugins are not installed (Debian: apt-get install containernetworking-plugins)", ErrAbsent)
}

// longestSocket is the longest path a Unix socket may have, in bytes.
const longestSocket = 100

// socketPath is where an own containerd listens: in its directory, or, where that is too deep, below /run.
func socketPath(dir string) string {
	p := filepath.Join(dir, "containerd.sock")
	if len(p) <= longestSocket {
		return p
	}
	return "/run/pintle-" + digest(dir) + ".sock"
}

// OwnSocket is where a containerd with this directory listens.
func OwnSocket(dir string) string {
	if abs, err := filepath.Abs(dir); err == nil {
		dir = abs
	}
	return socketPath(dir)
}

func digest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:6])
}

// state is the directory of what does not survive a reboot; its sockets need a short path.
func (c *Containerd) state() string { return "/run/pintle-" + digest(c.dir) }

func answers(socket string) bool {
	conn, err := net.DialTimeout("unix", socket, time.Second)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

var config = template.Must(template.New("").Parse(`# Written by pintle at every start.
version = 2
root = {{printf "%q" .Root}}
state = {{printf "%q" .State}}
oom_score = 0
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs", "io.containerd.tracing.processor.v1.otlp"]

[grpc]
  address = {{printf "%q" .Socket}}

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = {{printf "%q" .Pause}}
  restrict_oom_score_adj = {{.Restrict}}
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
  enable_unprivileged_ports = true
  enable_unprivileged_icmp = true

  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = {{printf "%q" .Plugins}}
    conf_dir = {{printf "%q" .CNI}}

  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = {{printf "%q" .Snapshotter}}
    default_runtime_name = "runc"

    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"

      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
`))

func (c *Containerd) configPath() string { return filepath.Join(c.dir, "config.toml") }
func (c *Containerd) pidPath() string    { return filepath.Join(c.dir, "containerd.pid") }

func (c *Containerd) configure(cfg Config) error {
	bin, err := plugins()
	if err != nil {
		return err
	}
	root := filepath.Join(c.dir, "root")
	for _, d := range []string{root, c.state(), cfg.CNIDir} {
		if err := os.MkdirAll(d, 0o711); err != nil {
			return fmt.Errorf("making containerd's directories: %w", err)
		}
	}
	var b bytes.Buffer
	err = config.Execute(&b, map[string]any{
		"Root": root, "State": c.state(), "Socket": c.Socket, "Pause": oci.PauseName, "Plugins": bin, "CNI": cfg.CNIDir,
		"Snapshotter": snapshotter(root), "Restrict": !mayLowerScore(),
	})
	if err != nil {
		return fmt.Errorf("writing containerd's configuration: %w", err)
	}
	if err := os.WriteFile(c.configPath(), b.Bytes(), 0o600); err != nil {
		return fmt.Errorf("writing containerd's configuration: %w", err)
	}
	return nil
}

// snapshotter is overlayfs, but where the images would lie on an overlay themselves, which the kernel refuses.
func snapshotter(dir string) string {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err == nil && int64(s.Type) == unix.OVERLAYFS_SUPER_MAGIC {
		return "native"
	}
	return "overlayfs"
}

// mayLowerScore tries whether the kernel lets this process lower an oom_score_adj: without CAP_SYS_RESOURCE it does
// not, and containerd must not try.
func mayLowerScore() bool {
	old, err := os.ReadFile("/proc/self/oom_score_adj")
	if err != nil {
		return false
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(old)))
	if err != nil || n <= -1000 {
		return err == nil
	}
	if err := os.WriteFile("/proc/self/oom_score_adj", []byte(strconv.Itoa(n-1)), 0o644); err != nil {
		return false
	}
	return os.WriteFile("/proc/self/oom_score_adj", old, 0o644) == nil
}

// run starts containerd in a session of its own and waits until it answers.
func (c *Containerd) run(ctx context.Context, program string) error {
	logPath := filepath.Join(c.dir, "containerd.log")
	log, err := os.OpenFile(logPath, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("opening containerd's log: %w", err)
	}
	defer log.Close()
	cmd := exec.Command(program, "--config", c.configPath(), "--log-level", "warn")
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting containerd: %w", err)
	}
	if err := os.WriteFile(c.pidPath(), []byte(strconv.Itoa(cmd.Process.Pid)), 0o600); err != nil {
		return errors.Join(fmt.Errorf("noting containerd's process: %w", err), cmd.Process.Kill())
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	ctx, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	for {
		if answers(c.Socket) {
			return nil
		}
		select {
		case err := <-ended:
			return fmt.Errorf("containerd ended at once (%v); its log is %s:\n%s", err, logPath, lastLines(logPath))
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("containerd does not answer after %v; its log is %s:\n%s", startWithin, logPath, lastLines(logPath)), cmd.Process.Kill())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// keepEvery is how often an own containerd is looked after.
const keepEvery = time.Second

// Keep starts an own containerd again whenever it has ended, until ctx does. Its containers have gone on meanwhile.
func (c *Containerd) Keep(ctx context.Context) {
	if !c.Own {
		return
	}
	tick := time.NewTicker(keepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if answers(c.Socket) {
			continue
		}
		slog.Warn("containerd does not answer; starting it again", "socket", c.Socket)
		program, err := installed()
		if err == nil {
			err = c.run(ctx, program)
		}
		if err != nil && ctx.Err() == nil {
			slog.Error("containerd does not start; it is tried again", "err", err)
		}
	}
}

// lastLines is the end of a log, for error messages.
func lastLines(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return strings.Join(lines[max(0, len(lines)-5):], "\n")
}

// Stop ends an own containerd. Containers that run go on without it, but their output waits for the next one.
func (c *Containerd) Stop(ctx context.Context) error {
	if !c.Own {
		return nil
	}
	b, err := os.ReadFile(c.pidPath())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("finding containerd's process: %w", err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return fmt.Errorf("finding containerd's process: %w", err)
	}
	if !c.is(pid) {
		return nil
	}
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("stopping containerd: %w", err)
	}
	for c.is(pid) && answers(c.Socket) {
		select {
		case <-ctx.Done():
			return fmt.Errorf("stopping containerd: %w", ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
	return nil
}

// Busy reports whether anything runs in containerd. One of the host, which is not to be ended, always counts as busy.
func (c *Containerd) Busy() (bool, error) {
	if !c.Own {
		return true, nil
	}
	// A task has a directory from before its start until after its end, whether containerd runs or not.
	tasks, err := os.ReadDir(filepath.Join(c.state(), "io.containerd.runtime.v2.task", namespace))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, fmt.Errorf("looking for what runs in containerd: %w", err)
	}
	return len(tasks) > 0, nil
}

// Clean removes what a stopped containerd of one's own has left below /run.
func (c *Containerd) Clean() error {
	if !c.Own {
		return nil
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return fmt.Errorf("reading the mounts: %w", err)
	}
	if bytes.Contains(mounts, []byte(" "+c.state()+"/")) {
		return nil // a container's file system is still there
	}
	if err := os.RemoveAll(c.state()); err != nil {
		return fmt.Errorf("removing containerd's state: %w", err)
	}
	return nil
}

// is reports whether a process is this containerd, and not another that has got its number.
func (c *Containerd) is(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return err == nil && bytes.Contains(b, []byte(c.configPath()))
}

// namespace is where CRI's images live in containerd.
const namespace = "k8s.io"

// Import brings an OCI or Docker archive into containerd's images, as pods see them, and returns their names. It runs
// ctr, which comes with containerd; layers are unpacked when a container first needs them.
func Import(ctx context.Context, socket, archive string) ([]string, error) {
	f, err := os.Open(archive)
	if err != nil {
		return nil, fmt.Errorf("opening the image archive: %w", err)
	}
	defer f.Close()
	// Names reads while ctr does, so that the archive may come through a pipe.
	r, w := io.Pipe()
	imported := make(chan error, 1)
	go func() {
		err := importFrom(ctx, socket, r)
		r.CloseWithError(err)
		imported <- err
	}()
	tee := io.TeeReader(f, w)
	names, err := oci.Names(tee)
	if err == nil {
		_, err = io.Copy(io.Discard, tee) // what follows the archive's end
	}
	w.CloseWithError(err)
	// Where containerd gave up, reading on for it fails too, and says less.
	if ierr := <-imported; err == nil || ierr != nil && errors.Is(err, ierr) {
		err = ierr
	}
	if err != nil {
		return nil, fmt.Errorf("importing the image archive %s: %w", archive, err)
	}
	for _, name := range names {
		if err := tagFull(ctx, socket, name); err != nil {
			return nil, err
		}
	}
	return names, nil
}

// tagFull gives an image the full form of its name as well, which is what CRI looks for when a pod names it in short. Images
// of an archive that `docker save` made have got it from containerd already, in place of the short one.
func tagFull(ctx context.Context, socket, name string) error {
	ref, err := reference.ParseDockerRef(name)
	if err != nil {
		return fmt.Errorf("the archive's image is called %q, which no pod can name: %w", name, err)
	}
	if ref.String() == name {
		return nil
	}
	images := func(args ...string) ([]byte, error) {
		return exec.CommandContext(ctx, "ctr", append([]string{"--address", socket, "--namespace", namespace, "images"}, args...)...).CombinedOutput()
	}
	out, err := images("ls", "-q", fmt.Sprintf("name==%q", name))
	if err == nil && len(bytes.TrimSpace(out)) > 0 {
		out, err = images("tag", "--force", name, ref.String())
	}
	if err != nil {
		return fmt.Errorf("naming the image %s in full: %w: %s", name, err, bytes.TrimSpace(out))
	}
	return nil
}

func importFrom(ctx context.Context, socket string, r io.Reader) error {
	ctr, err := exec.LookPath("ctr")
	if err != nil {
		return errors.New("importing an image: the program ctr is not installed; it comes with containerd")
	}
	cmd := exec.CommandContext(ctx, ctr, "--address", socket, "--namespace", namespace, "images", "import", "--no-unpack", "-")
	cmd.Stdin = r
	var errs bytes.Buffer
	cmd.Stderr = &errs
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("importing an image into containerd at %s: %w: %s", socket, err, strings.TrimSpace(errs.String()))
	}
	return nil
}

// ImportPause brings the sandbox image in under a name.
func ImportPause(ctx context.Context, socket, name string) error {
	var b bytes.Buffer
	if err := oci.WritePause(&b, name); err != nil {
		return err
	}
	return importFrom(ctx, socket, &b)
}
