"""C sources and LLVM IR that several tests of objects use."""

INFO = "#define INFO(x, kind) __builtin_preserve_field_info(x, kind)\n"


def program(body):
    return f'SEC("raw_tp/x") int prog(void **ctx) {{ unsigned long sum = 0; {body} return sum; }}'


MAPS = """
struct value { int a; char name[16]; unsigned flag : 3; unsigned rest : 29; };
struct key { __u32 pid; __u64 address; };
struct { __uint(type, BPF_MAP_TYPE_HASH); __type(key, struct key); __type(value, struct value);
         __uint(max_entries, 10240); __uint(map_flags, BPF_F_NO_PREALLOC); __uint(pinning, LIBBPF_PIN_BY_NAME);
       } table SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_RINGBUF); __uint(max_entries, 1 << 18); } ring SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY); __uint(key_size, 4); __uint(value_size, 4); } perf SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_BLOOM_FILTER); __type(value, __u32); __uint(max_entries, 64);
         __uint(map_extra, 3); __uint(numa_node, 0); } bloom SEC(".maps");
struct inner { __uint(type, BPF_MAP_TYPE_ARRAY); __type(key, int); __type(value, __u64); __uint(max_entries, 8); };
struct inner first SEC(".maps"), second SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS); __uint(max_entries, 4); __type(key, int);
         __array(values, struct inner); } maps SEC(".maps") = { .values = { &second, 0, &first } };
struct { __uint(type, BPF_MAP_TYPE_HASH_OF_MAPS); __uint(max_entries, 4); __uint(key_size, 4);
         __array(values, struct inner); } named SEC(".maps") = { .values = { [3] = &first } };
int next(struct xdp_md *ctx);
struct { __uint(type, BPF_MAP_TYPE_PROG_ARRAY); __uint(max_entries, 3); __uint(key_size, 4);
         __array(values, int (void *)); } jumps SEC(".maps") = { .values = { [2] = (void *)&next } };
SEC("xdp") int next(struct xdp_md *ctx) { return 2; }
SEC("xdp") int entry(struct xdp_md *ctx)
{
    struct key k = {};
    bpf_map_lookup_elem(&table, &k);
    bpf_tail_call(ctx, &jumps, 2);
    return 1;
}
"""

GLOBALS = """
struct settings { __u16 port; bool on; __u8 raw[5]; };
const volatile struct settings settings = { .port = 80, .on = 1, .raw = "abc" };
const volatile __s64 limit = -5;
int counter = 7;
__u64 zeros[4];
static volatile int hidden;
static volatile int more[3] = {1, 2, 3};
char name[12] SEC(".data.names") = "osmia";
const volatile char other[3] SEC(".rodata.other") = "ab";
SEC("socket") int entry(void *ctx)
{
    static volatile int local = 9;
    hidden++;
    zeros[2]++;
    return counter + settings.port + limit + more[2] + name[1] + other[0] + local;
}
"""

FUNCTIONS = """
int weight = 3;
__attribute__((noinline)) int shared(int x) { return x * weight; }
__attribute__((weak, noinline)) int soft(int x) { return x + 1; }
static __attribute__((noinline)) int deep(int x) { asm volatile("" ::: "memory"); return shared(x) - soft(x); }
static __attribute__((noinline)) int middle(int x) { asm volatile("" ::: "memory"); return deep(x) + deep(x + 1); }
static __attribute__((noinline)) int unused_by_b(int x) { asm volatile("" ::: "memory"); return x ^ 5; }
__attribute__((noinline, visibility("hidden"))) int concealed(int x) { return x - weight; }
static long visit(__u32 index, void *context) { *(int *)context += weight; return 0; }
static __attribute__((noinline)) SEC("socket/helpers") int elsewhere(int x) { return x + weight; }
SEC("socket") int a(struct __sk_buff *skb)
{
    int sum = 0;
    bpf_loop(10, visit, &sum, 0);
    return middle(skb->len) + unused_by_b(sum) + elsewhere(sum);
}
SEC("socket") int b(struct __sk_buff *skb) { return shared(skb->len) + middle(2) + concealed(1); }
"""

EXTERNS = """
extern int LINUX_KERNEL_VERSION __kconfig;
extern bool CONFIG_BPF __kconfig;
extern enum libbpf_tristate CONFIG_NOT_THERE __kconfig __weak;
extern char CONFIG_LOCALVERSION[32] __kconfig __weak;
extern const int runqueues __ksym;
extern const void bpf_prog_put __ksym;
extern void maybe_missing(int x) __ksym __weak;
extern int surely_there(int x) __ksym;
SEC("raw_tp/sched_switch") int entry(void *ctx)
{
    long sum = LINUX_KERNEL_VERSION + CONFIG_BPF + CONFIG_NOT_THERE + CONFIG_LOCALVERSION[3];
    if (maybe_missing)
        maybe_missing(1);
    return sum + (long)&runqueues + (long)&bpf_prog_put + surely_there(2);
}
"""

LOCAL = """
struct child { int a; int b; } CORE;
struct task {
    int pid;
    char comm[16];
    unsigned short level;
    struct child child;
    struct task *parent;
    unsigned int table[4][2];
    int gone;
    union { int in_union; long other; };
    unsigned long wide;
    int turned;
    struct child tail[];
} CORE;
"""

TARGET = """
struct child { long pad; int b; int a; };
struct task {
    long before[5];
    struct { int filler; union { short x; struct { int pid; }; }; };
    char comm[32];
    unsigned int level;
    void *parent;
    struct { int inside; struct child child; };
    unsigned int table[8][3];
    struct { long other2; union { int in_union; }; };
    unsigned int wide;
    long turned;
    int after;
    struct child tail[];
};
"""

IR = """
target datalayout = "e-m:e-p:64:64-i64:64-i128:128-n32:64-S128"
target triple = "bpfel"
%struct.task_struct = type { i32, i32 }
declare ptr @llvm.preserve.struct.access.index.p0.p0(ptr, i32, i32)
define i32 @prog(ptr %ctx) section "raw_tp/x" !dbg !7 {
  %task = load ptr, ptr %ctx, !dbg !12
  %field = call ptr @llvm.preserve.struct.access.index.p0.p0(ptr elementtype(%struct.task_struct) %task, i32 1, i32 1),
      !dbg !12, !llvm.preserve.access.index !13
  %value = load i32, ptr %field, !dbg !12
  ret i32 %value, !dbg !12
}
!llvm.dbg.cu = !{!0}
!llvm.module.flags = !{!2, !3}
!0 = distinct !DICompileUnit(language: DW_LANG_C99, file: !1, producer: "o", isOptimized: true, emissionKind: FullDebug)
!1 = !DIFile(filename: "prog.py", directory: "/")
!2 = !{i32 2, !"Debug Info Version", i32 3}
!3 = !{i32 7, !"Dwarf Version", i32 4}
!6 = !DIBasicType(name: "int", size: 32, encoding: DW_ATE_signed)
!7 = distinct !DISubprogram(name: "prog", scope: !1, file: !1, line: 3, type: !8, unit: !0, spFlags: DISPFlagDefinition)
!8 = !DISubroutineType(types: !9)
!9 = !{!6, !11}
!11 = !DIDerivedType(tag: DW_TAG_pointer_type, baseType: null, size: 64)
!12 = !DILocation(line: 4, column: 9, scope: !7)
!13 = !DICompositeType(tag: DW_TAG_structure_type, name: "task_struct", file: !1, size: 64, elements: !14)
!14 = !{!15, !16}
!15 = !DIDerivedType(tag: DW_TAG_member, name: "pid", scope: !13, file: !1, baseType: !6, size: 32, offset: 0)
!16 = !DIDerivedType(tag: DW_TAG_member, name: "tgid", scope: !13, file: !1, baseType: !6, size: 32, offset: 32)
"""

ACCESS = program("""
    struct task *t = ctx[0];
    sum += INFO(t->pid, 0) + INFO(t->comm, 0) + INFO(t->comm, 1) + INFO(t->comm[3], 0) + INFO(t->child.b, 0);
    sum += INFO(t->parent, 0) + INFO(t->table[2][1], 0) + INFO(t->in_union, 0) + INFO(t->tail[2].b, 0);
    sum += INFO(t->pid, 2) + INFO(t->gone, 2) + INFO(t->gone, 0) + INFO(t->level, 1) + INFO(t->wide, 1);
    sum += INFO(t->turned, 3) + INFO(t->level, 3) + INFO(t->child, 1) + INFO(t[2].pid, 0);
""")
