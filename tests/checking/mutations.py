"""Every derivative of the table, made wrong in every small way that its source allows.

A row's *units* are the lines of its derivative: its partials or its joint line, and the private functions of its page
that these call. Here they are parsed, and each node of their syntax is exchanged for others: a sign, an operator, a
constant, a dropped factor, a neighbour's name. A mutant is one such unit. It is planted in the row itself, so that
everything that uses the row sees it, and always taken out again. What becomes of it is decided in
:mod:`~tests.checking.mutants`.
"""

from __future__ import annotations

import ast
import functools
import inspect
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from tinygrad_bp import Tensor, autograd, ops
from tinygrad_bp.autograd import Op

PAGES = (*ops.PAGES, autograd)
PACKAGE = Path(inspect.getfile(ops)).parent.parent
FORWARD_TOO = {"over", "times", "gate"}  # rows that derivatives are made of: their forwards are units as well
WALKER = ["_fit", "_sum_to"]  # what undoes a broadcast for all rows, tried with these
BROADCASTING = ["add", "multiply", "where", "linear", "matmul", "sum_to", "cast"]

# ---- the units -------------------------------------------------------------------------------------------------------


class Line(NamedTuple):
    """A row as its page has it: the expressions that were given for its derivative, and the functions these call."""

    row: Op
    page: ModuleType
    given: dict[str, ast.expr]
    helpers: dict[str, ast.FunctionDef]


def lines_of(page: ModuleType) -> Iterator[Line]:
    """The rows of a page that have a derivative."""
    functions = functions_of(page)
    for node in ast.parse(inspect.getsource(page)).body:
        match node:
            case (
                ast.Assign(targets=[ast.Name(name)], value=ast.Call(func=ast.Name(maker)) as call)
                | ast.AnnAssign(target=ast.Name(name), value=ast.Call(func=ast.Name(maker)) as call)
            ) if maker in {"unary", "binary", "primitive", "row"}:
                row = vars(page)[name]
                given = {f"partial {k}": part for k, part in enumerate(call.args[2:])}
                given |= {word.arg: word.value for word in call.keywords if word.arg == "joint"}
                if row.name in FORWARD_TOO:
                    given["forward"] = call.args[1]
                if given:
                    yield Line(row, page, given, called(given.values(), functions))


def functions_of(page: ModuleType) -> dict[str, ast.FunctionDef]:
    """The functions that a page defines, by name."""
    return {
        node.name: bare(node) for node in ast.parse(inspect.getsource(page)).body if isinstance(node, ast.FunctionDef)
    }


def called(nodes: Iterable[ast.AST], functions: dict[str, ast.FunctionDef]) -> dict[str, ast.FunctionDef]:
    """The functions that some code names, and those that they name."""
    found: dict[str, ast.FunctionDef] = {}
    todo = list(nodes)
    while todo:
        for node in ast.walk(todo.pop()):
            if isinstance(node, ast.Name) and node.id in functions and node.id not in found:
                found[node.id] = functions[node.id]
                todo.append(functions[node.id])
    return found


def bare(function: ast.FunctionDef) -> ast.FunctionDef:
    """A function without docstring and annotations, in which there is nothing to get wrong."""
    function.returns = None
    for argument in function.args.args:
        argument.annotation = None
    if ast.get_docstring(function):
        del function.body[0]
    function.body = [
        ast.copy_location(ast.Assign([node.target], node.value), node) if isinstance(node, ast.AnnAssign) else node
        for node in function.body
    ]
    return function


# ---- what can go wrong with a node -----------------------------------------------------------------------------------


def table(text: str) -> dict[str, list[str]]:
    """The words of each piece: the first, and what may stand in its place."""
    return {first: others for first, *others in map(str.split, text.split("|"))}


SIGNS = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.MatMult: "@", ast.Pow: "**", ast.FloorDiv: "//"}
SIGNS |= {ast.Mod: "%", ast.Gt: ">", ast.GtE: ">=", ast.Lt: "<", ast.LtE: "<=", ast.Eq: "==", ast.NotEq: "!="}
SIGNS |= {ast.Is: "is", ast.IsNot: "is not", ast.In: "in", ast.NotIn: "not in"}
OTHER_SIGNS = table(
    "+ - | - + | * / + | / * | ** * | // * | % // | @ * | > >= < | >= > <= | < <= > | <= < >= | == != >= <= | != =="
)
OTHER_SIGNS |= {"is": ["is not"], "is not": ["is"], "in": ["not in"], "not in": ["in"]}
SIBLINGS = table(
    "sin cos | cos sin | sinh cosh | cosh sinh | exp expm1 exp2 | log log1p | sqrt square cbrt | sign abs positive"
    "| tril triu | triu tril | maximum minimum | minimum maximum | logical_and logical_or | floor_divide divide"
    "| cumsum cumprod | sum mean max | isfinite isnan | ones_like zeros_like | argsort array | size ndim | mT T | T mT"
    "| times over | over times | softmax log_softmax | log_softmax softmax | sigmoid np.tanh | LN2 LN10 | LN10 LN2"
    "| _matmul_da _matmul_db | _matmul_db _matmul_da | _spread _kept"
)
WORDS = {"mean": ["sum", "none"], "none": ["sum", "mean"]}


def held(x: Any) -> Any:
    """x as a constant: right at order 1, wrong at order 2 wherever the derivative depends on it."""
    if isinstance(x, (list, tuple)):
        return [held(v) for v in x]
    return x.detach() if isinstance(x, Tensor) else x


def beside(axis: Any) -> Any:
    """The axis next to it."""
    if isinstance(axis, tuple):
        return tuple(map(beside, axis))
    return axis if axis is None else axis - 1 if axis else axis + 1


def is_array(argument: str) -> bool:
    """Whether an argument of this name holds numbers: the pages give those one letter, and params words or i to n."""
    return len(argument.strip("s")) < 2 and argument not in {"i", "j", "k", "n"}


EXTRA = {"held": held, "beside": beside}
Change = str | ast.AST


def changes(node: ast.AST, parent: ast.AST, names: list[str]) -> Iterator[Change]:
    """What may stand in the place of a node of a unit whose arguments have these names."""
    text = ast.unparse(node)
    if (isinstance(parent, ast.Lambda) and node is parent.body) or isinstance(parent, ast.Return):
        yield from (f"-({text})", f"2.0 * ({text})", f"1.001 * ({text})", f"0.0 * ({text})")
        yield from (f"np.transpose({text})", f"np.flip({text})")
    if (isinstance(parent, (ast.If, ast.While)) and node is parent.test) or node in getattr(parent, "ifs", []):
        yield from (f"not ({text})", "True", "False")
    match node:
        case ast.BinOp(left, sign, right):
            a, b, s = ast.unparse(left), ast.unparse(right), SIGNS[type(sign)]
            yield from (f"({a}) {other} ({b})" for other in OTHER_SIGNS[s])
            yield from (a, b)
            if s not in "+*":
                yield f"({b}) {s} ({a})"
            if s == "@":
                yield from (f"({a}).T @ ({b})", f"({a}) @ ({b}).T")
        case ast.UnaryOp(_, operand):
            yield ast.unparse(operand)
        case ast.Constant(bool(value)):
            yield str(not value)
        case ast.Constant(int(value)):
            yield from (str(value + 1), str(value - 1))
        case ast.Constant(float(value)):
            yield from (str(value + 1.0), str(1.01 * value), str(-value))
        case ast.Constant(str(value)):
            yield from (repr(word) for word in WORDS.get(value, []))
        case ast.Compare(left, [comparison], [right]):
            a, b = ast.unparse(left), ast.unparse(right)
            yield from (f"({a}) {other} ({b})" for other in OTHER_SIGNS[SIGNS[type(comparison)]])
        case ast.IfExp(test, yes, no):
            yield from (f"({ast.unparse(no)}) if {ast.unparse(test)} else ({ast.unparse(yes)})", yes, no)
        case ast.BoolOp(_, values):
            both = [f"({ast.unparse(value)})" for value in values]
            yield from ((" or " if isinstance(node.op, ast.And) else " and ").join(both), *both)
        case ast.Call():
            yield from changes_of_a_call(node)
        case ast.Attribute(value, name, ast.Load()):
            yield from (f"({ast.unparse(value)}).{other}" for other in SIBLINGS.get(name, []))
            if name in {"T", "mT"}:
                yield value
        case ast.Subscript(value, index, ast.Load()):
            yield value
            if isinstance(index, ast.Tuple):
                for i in range(len(index.elts) - 1):
                    swapped = [*index.elts[:i], index.elts[i + 1], index.elts[i], *index.elts[i + 2 :]]
                    yield ast.Subscript(value, ast.Tuple(swapped, ast.Load()), ast.Load())
        case ast.Slice(lower, upper, step):
            if lower is None:
                yield ast.Slice(ast.Constant(1), upper, step)
            if upper is None:
                yield ast.Slice(lower, ast.Constant(-1), step)
        case ast.Name(name, ast.Load()):
            yield from SIBLINGS.get(name, [])
            if name in names:
                only_shape = isinstance(parent, ast.Attribute) and parent.attr in {"shape", "ndim", "size"}
                yield from (other for other in names if other != name and is_array(other) == is_array(name))
                if is_array(name) and not only_shape:  # the shape of a constant is the same
                    yield f"held({name})"
                if name in "gh" and not only_shape:
                    yield from (f"{name} * {name}", f"np.ones_like({name})", f"abs({name})")
                if name == "axis":
                    yield "beside(axis)"
        case ast.Assign() | ast.Expr() | ast.AugAssign():
            yield ast.Pass()


def changes_of_a_call(node: ast.Call) -> Iterator[Change]:
    function, args, words = ast.unparse(node.func), [ast.unparse(a) for a in node.args], node.keywords
    rest = [ast.unparse(word) for word in words]
    if function in {"times", "over", "gate"}:
        yield f"({args[0]}) {'/' if function == 'over' else '*'} ({args[1]})"
    if function == "np.where":
        yield f"np.where({args[0]}, {args[2]}, {args[1]})"
    yield from (argument for argument in args if not argument.startswith("*"))
    if isinstance(node.func, ast.Attribute) and ast.unparse(node.func.value) != "np":
        yield node.func.value  # the method dropped
    for i in range(len(args) - 1):
        yield f"{function}({', '.join([*args[:i], args[i + 1], args[i], *args[i + 2 :], *rest])})"
    if len(args) > 1 or (args and isinstance(node.func, ast.Attribute) and ast.unparse(node.func.value) != "np"):
        yield f"{function}({', '.join([*args[:-1], *rest])})"
    for i in range(len(rest)):
        yield f"{function}({', '.join([*args, *rest[:i], *rest[i + 1 :]])})"


# ---- mutants ---------------------------------------------------------------------------------------------------------


class Mutant(NamedTuple):
    """One change of one unit, and the rows whose derivative it is in."""

    lines: tuple[Line, ...]
    unit: str
    place: str
    before: str
    source: str

    def __str__(self) -> str:
        old = self.before.splitlines()
        new = [text.strip() for text in self.source.splitlines() if text not in old]
        return f"{', '.join(line.row.name for line in self.lines)}: {self.unit}, {self.place}: {' | '.join(new)}"


@functools.cache
def mutants() -> tuple[Mutant, ...]:
    """Every mutant of the table."""
    return tuple(mutant for page in PAGES for unit in units_of(page) for mutant in mutants_of(*unit))


Unit = tuple[tuple[Line, ...], str, ast.expr | ast.FunctionDef]


def units_of(page: ModuleType) -> Iterator[Unit]:
    """The lines and functions of a page that can be wrong, each with the rows that use it."""
    lines = [line for line in LINES.values() if line.page is page]
    for line in lines:
        yield from (((line,), unit, tree) for unit, tree in line.given.items())
    helpers = {name: tree for line in lines for name, tree in line.helpers.items()}
    yield from ((tuple(x for x in lines if name in x.helpers), name, tree) for name, tree in helpers.items())
    if page is autograd:
        functions = functions_of(page)
        yield from ((tuple(LINES[row] for row in BROADCASTING), name, functions[name]) for name in WALKER)


def mutants_of(lines: tuple[Line, ...], unit: str, tree: ast.expr | ast.FunctionDef) -> Iterator[Mutant]:
    """Every mutant of a unit, each source once; of None, or of a function that is a unit itself, there are none."""
    if isinstance(tree, (ast.Lambda, ast.FunctionDef)):
        file = Path(inspect.getfile(autograd if unit in WALKER else lines[0].page)).relative_to(PACKAGE).as_posix()
        before = ast.unparse(tree)
        seen = {before}
        for number, source in sources(tree):
            if source not in seen:
                seen.add(source)
                yield Mutant(lines, unit, f"{file}:{number}", before, source)


def sources(tree: ast.Lambda | ast.FunctionDef) -> Iterator[tuple[int, str]]:
    """The tree with one node changed, for every change of every node: line number and source."""
    names = [argument.arg for argument in tree.args.args]
    for parent, field, place, node in list(slots(tree)):
        for change in list(changes(node, parent, names)):
            new = ast.parse(f"({change})", mode="eval").body if isinstance(change, str) else change
            put(parent, field, place, new)
            source = ast.unparse(tree)
            put(parent, field, place, node)
            yield getattr(node, "lineno", tree.lineno), source


def put(parent: ast.AST, field: str, place: int | None, node: ast.AST) -> None:
    if place is None:
        setattr(parent, field, node)
    else:
        getattr(parent, field)[place] = node


def slots(tree: ast.AST) -> Iterator[tuple[ast.AST, str, int | None, ast.AST]]:
    """Every node below another and where it hangs; not what a message says."""
    todo = [tree]
    while todo:
        parent = todo.pop(0)
        for field, value in ast.iter_fields(parent):
            for place, node in enumerate(value) if isinstance(value, list) else [(None, value)]:
                if isinstance(node, ast.AST) and not isinstance(parent, (ast.Raise, ast.JoinedStr)):
                    todo.append(node)
                    if isinstance(node, (ast.expr, ast.stmt, ast.Slice)):
                        yield parent, field, place, node


class Finite(ast.NodeTransformer):
    """A while loop that does not end raises."""

    def visit_While(self, node: ast.While) -> ast.AST:
        (loop,) = ast.parse("for _ in range(20):\n if not 0: break\nelse: raise RuntimeError('endless')").body
        loop.body[0].test.operand = node.test  # type: ignore[attr-defined]
        loop.body += node.body  # type: ignore[attr-defined]
        return ast.copy_location(loop, node)


@contextmanager
def planted(mutant: Mutant) -> Iterator[None]:
    """Inside, the derivatives of its rows are the mutant's."""
    rows = [line.row for line in mutant.lines]
    before = [(row.forward, row.partials, row.joint) for row in rows]
    walker = {name: vars(autograd)[name] for name in WALKER}
    try:
        if mutant.unit in WALKER:
            plant_in_the_walker(mutant)
        else:
            for line in mutant.lines:
                plant(mutant, line)
        yield
    finally:
        vars(autograd).update(walker)
        for row, (forward, partials, joint) in zip(rows, before):
            row.forward, row.partials, row.joint = forward, partials, joint


def plant(mutant: Mutant, line: Line) -> None:
    """Compile the row's derivative with the mutant in it, in a namespace of its own."""
    row, namespace = line.row, {**vars(line.page), **EXTRA}
    given = {unit: text(tree) for unit, tree in line.given.items()}
    if mutant.unit in given:
        given[mutant.unit] = mutant.source
    else:
        functions = {name: text(tree) for name, tree in line.helpers.items()} | {mutant.unit: mutant.source}
        code = Finite().visit(ast.parse("\n".join(functions.values())))
        exec(compile(ast.fix_missing_locations(code), mutant.place, "exec"), namespace)
    made = {unit: eval(source, namespace) for unit, source in given.items()}
    if "joint" in made:
        row.joint = row._gathered(made["joint"], 2) if getattr(row, "variadic", False) else made["joint"]
    else:
        row.partials = tuple(part for unit, part in made.items() if unit.startswith("partial"))
    row.forward = made.get("forward", row.forward)


text = functools.cache(ast.unparse)


def plant_in_the_walker(mutant: Mutant) -> None:
    namespace = {**vars(autograd), **EXTRA}
    exec(compile(mutant.source, mutant.place, "exec"), namespace)
    if autograd.sum_to.forward is vars(autograd)[mutant.unit]:
        autograd.sum_to.forward = namespace[mutant.unit]
    setattr(autograd, mutant.unit, namespace[mutant.unit])


LINES = {line.row.name: line for page in PAGES for line in lines_of(page)}
