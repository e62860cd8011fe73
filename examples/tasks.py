"""Iterate over kernel objects: all tasks with their parents, read in one go without /proc."""

from osmia import IterContext, Program, seq_print

prog = Program("tasks")


@prog.iter("task")
def each(ctx: IterContext) -> None:
    task = ctx.task
    if task is None:
        return
    if task.pid == task.tgid:
        seq_print(f"{task.tgid} {task.real_parent.tgid} {task.comm}\n")


if __name__ == "__main__":
    prog.run()
