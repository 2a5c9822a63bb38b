package conformance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// binary is the pintle under test, shared the server most tests use; both are set by TestMain.
var (
	binary string
	shared *server
)

// patience bounds every wait of these tests. It is far above what the server needs, because machines that run tests
// are busy; nothing waits for it unless something is broken.
const patience = 3 * time.Minute

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	dir, err := os.MkdirTemp("", "pintle-conformance-")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	if binary = os.Getenv("PINTLE"); binary == "" {
		binary = filepath.Join(dir, "pintle")
		build := exec.Command("go", "build", "-o", binary, "./cmd/pintle")
		build.Dir = ".."
		if out, err := build.CombinedOutput(); err != nil {
			return 1, fmt.Errorf("building pintle: %w\n%s", err, out)
		}
	}
	if shared, err = start(dir); err != nil {
		return 1, err
	}
	code = m.Run()
	return code, shared.stop()
}

// A server is a running `pintle up` with three hollow nodes.
type server struct {
	kubeconfig string
	config     *rest.Config // without client-side rate limits
	process    *os.Process
	exited     chan struct{}
	err        error        // of the process, once exited
	log        bytes.Buffer // once exited
}

// start runs a server that keeps its kubeconfig below dir and returns when it is ready.
func start(dir string, flags ...string) (*server, error) {
	s := &server{kubeconfig: filepath.Join(dir, "kubeconfig"), exited: make(chan struct{})}
	flags = append([]string{"up", "--ephemeral", "--no-node", "--hollow-nodes", "3", "--listen", "127.0.0.1:0",
		"--kubeconfig", s.kubeconfig}, flags...)
	cmd := exec.Command(binary, flags...)
	cmd.Stdout, cmd.Stderr = &s.log, &s.log
	// The kernel ends the server when the thread that started it ends: tests that time out leave none behind.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			s.err = cmd.Wait()
		}
		close(s.exited)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("starting %s: %w", binary, err)
	}
	s.process = cmd.Process
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		if _, err := os.Stat(s.kubeconfig); err == nil {
			break
		}
		select {
		case <-s.exited:
			return nil, fmt.Errorf("pintle %s ended before it was ready: %v\n%s", strings.Join(flags, " "), s.err, &s.log)
		default:
		}
		if time.Now().After(deadline) {
			return nil, errors.Join(fmt.Errorf("pintle %s wrote no kubeconfig", strings.Join(flags, " ")), s.stop())
		}
	}
	config, err := clientcmd.BuildConfigFromFlags("", s.kubeconfig)
	if err != nil {
		return nil, errors.Join(err, s.stop())
	}
	config.QPS = -1
	s.config = config
	return s, nil
}

// stop asks the server to end, as `kill` does, and reports one that failed, panicked or did not end.
func (s *server) stop() error {
	if err := s.process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-s.exited:
	case <-time.After(patience):
		_ = s.process.Signal(syscall.SIGQUIT) // its stacks tell why; it may end on its own meanwhile
		<-s.exited
		return fmt.Errorf("pintle did not end after SIGTERM\n%s", &s.log)
	}
	if s.err != nil || bytes.Contains(s.log.Bytes(), []byte("panic")) {
		return fmt.Errorf("pintle ended with %v\n%s", s.err, &s.log)
	}
	return nil
}

// own starts a server for one test, for what would disturb others on the shared one.
func own(t *testing.T, flags ...string) *server {
	t.Helper()
	s, err := start(t.TempDir(), flags...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.stop(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// clients are the typed clients of a server.
func (s *server) clients(t *testing.T) *kubernetes.Clientset {
	t.Helper()
	c, err := kubernetes.NewForConfig(s.config)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

var namespaces atomic.Int64

// namespace creates a namespace for one test and deletes it afterwards, without waiting for what is in it.
func (s *server) namespace(t *testing.T) string {
	t.Helper()
	c := s.clients(t)
	name := fmt.Sprintf("t%d", namespaces.Add(1))
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if _, err := c.CoreV1().Namespaces().Create(t.Context(), ns, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.CoreV1().Namespaces().Delete(context.Background(), name, metav1.DeleteOptions{}); err != nil {
			t.Errorf("deleting the namespace of the test: %v", err)
		}
	})
	eventually(t, func() error { return s.complete(t.Context(), name) })
	return name
}

// complete reports what a namespace has not yet of what controllers put into every one.
func (s *server) complete(ctx context.Context, namespace string) error {
	c, err := kubernetes.NewForConfig(s.config)
	if err != nil {
		return err
	}
	_, account := c.CoreV1().ServiceAccounts(namespace).Get(ctx, "default", metav1.GetOptions{})
	_, root := c.CoreV1().ConfigMaps(namespace).Get(ctx, "kube-root-ca.crt", metav1.GetOptions{})
	return errors.Join(account, root)
}

// eventually calls try until it returns nil and fails the test with its last error when it never does.
func eventually(t *testing.T, try func() error) {
	t.Helper()
	if err := insist(try); err != nil {
		t.Fatal(err)
	}
}

// insist calls try until it returns nil and returns its last error when it never does.
func insist(try func() error) (err error) {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if err = try(); err == nil {
			return nil
		}
	}
	return fmt.Errorf("still after %v: %w", patience, err)
}
