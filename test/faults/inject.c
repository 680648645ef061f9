/*
 * Runs a plugin and lets one system call of it fail, or be its last one.
 *
 *     inject REPORT none                   COMMAND [ARGUMENT...]
 *     inject REPORT PROCESS:KIND:N:ERRNO   COMMAND [ARGUMENT...]
 *     inject REPORT PROCESS:any:N:kill     COMMAND [ARGUMENT...]
 *
 * PROCESS is the program's file name; a process that it forks, as long as that executes nothing, is
 * called after it with "+1", "+2", ... behind. KIND is the system call's name; for fcntl and ioctl
 * the operation follows in hexadecimal ("fcntl.406"), so that each is a kind of its own. N counts
 * from 1, for each process and kind apart; "any" counts all. A call that fails is not executed:
 * its caller sees ERRNO (a number). At "kill" the process gets SIGKILL in place of the call.
 *
 * Counted is from main on (see MARKER below): before that a failure is the dynamic loader's, which
 * knows nothing of CNI. wireguard-go, once executed, is let go: it lives on.
 *
 * The report has a line "PROCESS KIND COUNT" for each process and kind, and "injected" where the
 * fault was reached. The exit status is that of COMMAND, 128 and the signal's number where a signal
 * ended it.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	NAME_SIZE = 64,
	PROCESSES_MAXIMUM = 64,
	COUNTS_MAXIMUM = 2048,
	USAGE = 2,
	/* The first thing that every plugin does in main: fcntl(0, F_GETFD). */
	MARKER_FD = 0,
};

struct process {
	pid_t pid; /* 0: free */
	char name[NAME_SIZE];
	int children;
	bool adopted; /* its parent has told of it */
	bool waiting; /* stopped, for that */
	bool counting;
	bool failing; /* the call that it is in */
};

struct count {
	char process[NAME_SIZE];
	char kind[NAME_SIZE];
	unsigned int count;
};

static struct fault {
	char process[NAME_SIZE];
	char kind[NAME_SIZE];
	unsigned int number;
	int errnum; /* 0: none; -1: kill */
	bool reached;
} fault;

static struct process processes[PROCESSES_MAXIMUM];
static struct count counts[COUNTS_MAXIMUM];
static size_t count_count;

__attribute__((noreturn)) static void fail(const char *what)
{
	(void)fprintf(stderr, "inject: %s: %s\n", what, strerrordesc_np(errno));
	exit(USAGE);
}

static void copy_name(char target[static NAME_SIZE], const char *source)
{
	(void)snprintf(target, NAME_SIZE, "%.63s", source);
}

static struct process *find_process(pid_t pid)
{
	for (size_t i = 0; i < PROCESSES_MAXIMUM; i++)
		if (processes[i].pid == pid)
			return &processes[i];
	return NULL;
}

static struct process *add_process(pid_t pid)
{
	struct process *process = find_process(pid);

	if (process != NULL)
		return process;
	process = find_process(0);
	if (process == NULL)
		fail("more processes than expected");
	*process = (struct process){.pid = pid};
	return process;
}

static unsigned int count_call(const char *process, const char *kind)
{
	for (size_t i = 0; i < count_count; i++)
		if (strcmp(counts[i].process, process) == 0 && strcmp(counts[i].kind, kind) == 0)
			return ++counts[i].count;
	if (count_count == COUNTS_MAXIMUM)
		fail("more kinds of calls than expected");
	struct count *count = &counts[count_count++];
	copy_name(count->process, process);
	copy_name(count->kind, kind);
	count->count = 1;
	return 1;
}

/* ---- what differs between architectures ------------------------------------------------------ */

#if defined(__x86_64__)

/* At the entry into a call: none is executed. */
static int skip_call(pid_t pid)
{
	struct user_regs_struct registers;

	if (ptrace(PTRACE_GETREGS, pid, NULL, &registers) < 0)
		return -errno;
	registers.orig_rax = (unsigned long long)-1;
	return ptrace(PTRACE_SETREGS, pid, NULL, &registers) < 0 ? -errno : 0;
}

/* At its end: what its caller gets. */
static void set_result(pid_t pid, long result)
{
	struct user_regs_struct registers;

	if (ptrace(PTRACE_GETREGS, pid, NULL, &registers) < 0)
		return;
	registers.rax = (unsigned long long)result;
	(void)ptrace(PTRACE_SETREGS, pid, NULL, &registers);
}

#elif defined(__aarch64__)

static int skip_call(pid_t pid)
{
	int none = -1;
	struct iovec area = {&none, sizeof(none)};

	return ptrace(PTRACE_SETREGSET, pid, NT_ARM_SYSTEM_CALL, &area) < 0 ? -errno : 0;
}

static void set_result(pid_t pid, long result)
{
	struct user_regs_struct registers;
	struct iovec area = {&registers, sizeof(registers)};

	if (ptrace(PTRACE_GETREGSET, pid, NT_PRSTATUS, &area) < 0)
		return;
	registers.regs[0] = (unsigned long long)result;
	(void)ptrace(PTRACE_SETREGSET, pid, NT_PRSTATUS, &area);
}

#else
#error "add how a call is skipped, and given a result, on this architecture"
#endif

/* ---- calls ----------------------------------------------------------------------------------- */

static void name_kind(const struct __ptrace_syscall_info *call, char kind[static NAME_SIZE])
{
	char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, (int)call->entry.nr);

	if (call->entry.nr == SYS_fcntl || call->entry.nr == SYS_ioctl)
		(void)snprintf(kind, NAME_SIZE, "%s.%x", name, (unsigned int)call->entry.args[1]);
	else
		copy_name(kind, name != NULL ? name : "unknown");
	free(name);
}

static bool is_fault(const struct process *process, const char *kind, unsigned int count)
{
	return fault.errnum != 0 && !fault.reached && count == fault.number &&
	       strcmp(fault.kind, kind) == 0 && strcmp(fault.process, process->name) == 0;
}

static void enter_call(struct process *process, const struct __ptrace_syscall_info *call)
{
	char kind[NAME_SIZE];

	if (!process->counting) {
		process->counting = call->entry.nr == SYS_fcntl &&
				    call->entry.args[0] == MARKER_FD &&
				    call->entry.args[1] == F_GETFD;
		return;
	}
	name_kind(call, kind);
	unsigned int any = count_call(process->name, "any");
	unsigned int count = count_call(process->name, kind);
	if (is_fault(process, "any", any) || is_fault(process, kind, count)) {
		fault.reached = true;
		if (fault.errnum < 0) {
			(void)kill(process->pid, SIGKILL);
			return;
		}
		process->failing = true;
		if (skip_call(process->pid) < 0)
			fail("change a call");
	}
}

static void stop_at_call(struct process *process)
{
	struct __ptrace_syscall_info call;

	if (ptrace(PTRACE_GET_SYSCALL_INFO, process->pid, sizeof(call), &call) < 0)
		return; /* it was killed meanwhile */
	if (call.op == PTRACE_SYSCALL_INFO_ENTRY) {
		enter_call(process, &call);
	} else if (process->failing) {
		process->failing = false;
		set_result(process->pid, -fault.errnum);
	}
}

static void name_program(pid_t pid, char name[static NAME_SIZE])
{
	char link[64];
	char path[PATH_MAX] = "";

	(void)snprintf(link, sizeof(link), "/proc/%d/exe", (int)pid);
	ssize_t size = readlink(link, path, sizeof(path) - 1);
	if (size < 0)
		size = 0;
	path[size] = '\0';
	const char *slash = strrchr(path, '/');
	copy_name(name, slash != NULL ? slash + 1 : path);
}

static void adopt_child(struct process *parent)
{
	unsigned long number = 0;

	if (ptrace(PTRACE_GETEVENTMSG, parent->pid, NULL, &number) < 0)
		return;
	struct process *child = add_process((pid_t)number);
	(void)snprintf(child->name, NAME_SIZE, "%.48s+%d", parent->name, ++parent->children);
	child->counting = parent->counting;
	child->adopted = true;
	if (child->waiting)
		(void)ptrace(PTRACE_SYSCALL, child->pid, NULL, NULL);
}

/* 0 where the process is let go. */
static bool handle_event(struct process *process, int event)
{
	switch (event) {
	case PTRACE_EVENT_FORK:
	case PTRACE_EVENT_VFORK:
	case PTRACE_EVENT_CLONE:
		adopt_child(process);
		return true;
	case PTRACE_EVENT_EXEC:
		name_program(process->pid, process->name);
		process->counting = false;
		process->children = 0;
		if (strcmp(process->name, "wireguard-go") != 0)
			return true;
		(void)ptrace(PTRACE_DETACH, process->pid, NULL, NULL);
		process->pid = 0;
		return false;
	default:
		return true;
	}
}

static void trace(pid_t root, int *ret_status)
{
	const long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK |
			     PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL;
	int status;

	if (waitpid(root, &status, 0) != root || !WIFSTOPPED(status) ||
	    ptrace(PTRACE_SETOPTIONS, root, NULL, options) < 0)
		fail("trace the command");
	struct process *first = add_process(root);
	first->adopted = true;
	name_program(root, first->name);
	(void)ptrace(PTRACE_SYSCALL, root, NULL, NULL);

	for (;;) {
		pid_t pid = waitpid(-1, &status, __WALL);

		if (pid < 0 && errno == EINTR)
			continue;
		if (pid < 0)
			return; /* nobody is left */
		if (WIFEXITED(status) || WIFSIGNALED(status)) {
			struct process *ended = find_process(pid);

			if (pid == root)
				*ret_status = status;
			if (ended != NULL)
				ended->pid = 0;
			continue;
		}

		struct process *process = add_process(pid);
		int signal = WSTOPSIG(status);
		int event = status >> 16;
		if (event != 0) {
			if (!handle_event(process, event))
				continue;
			signal = 0;
		} else if (signal == (SIGTRAP | 0x80)) {
			stop_at_call(process);
			signal = 0;
		} else if (signal == SIGSTOP || signal == SIGTRAP) {
			signal = 0; /* how a traced child begins */
		}
		if (!process->adopted) {
			process->waiting = true;
			continue;
		}
		(void)ptrace(PTRACE_SYSCALL, pid, NULL, (void *)(long)signal);
	}
}

static void parse_fault(const char *text)
{
	char action[16];

	if (strcmp(text, "none") == 0)
		return;
	if (sscanf(text, "%63[^:]:%63[^:]:%u:%15s", fault.process, fault.kind, &fault.number,
		   action) != 4) {
		(void)fprintf(stderr, "inject: '%s' is no fault\n", text);
		exit(USAGE);
	}
	fault.errnum = strcmp(action, "kill") == 0 ? -1 : atoi(action);
}

static void write_report(const char *path)
{
	FILE *file = fopen(path, "we");

	if (file == NULL)
		fail(path);
	for (size_t i = 0; i < count_count; i++)
		(void)fprintf(file, "%s %s %u\n", counts[i].process, counts[i].kind,
			      counts[i].count);
	if (fault.reached)
		(void)fprintf(file, "injected\n");
	(void)fclose(file);
}

int main(int argc, char **argv)
{
	int status = 0;

	if (argc < 4) {
		(void)fprintf(stderr, "usage: inject REPORT FAULT COMMAND [ARGUMENT...]\n");
		return USAGE;
	}
	parse_fault(argv[2]);

	pid_t root = fork();
	if (root < 0)
		fail("fork");
	if (root == 0) {
		if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
			fail("be traced");
		(void)execv(argv[3], argv + 3);
		fail(argv[3]);
	}
	/* The command alone holds the pipes: their end is its end. */
	(void)close_range(0, STDERR_FILENO - 1, 0);
	trace(root, &status);
	write_report(argv[1]);
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}
