-- The sample application's table, owned by the group, in a database of its own.
-- Variables: database, group.

REVOKE ALL ON DATABASE :"database" FROM PUBLIC;

-- An administrator who is no superuser may act as the group only as its member.
GRANT :"group" TO CURRENT_USER;
SET LOCAL ROLE :"group";

CREATE TABLE orders (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer text NOT NULL,
    item text NOT NULL,
    quantity integer NOT NULL CHECK (quantity > 0),
    created timestamptz NOT NULL DEFAULT now()
);

INSERT INTO orders (customer, item, quantity) VALUES
    ('Contoso', 'Espresso machine', 2),
    ('Fabrikam', 'Paper filters', 40),
    ('Northwind', 'Coffee beans, 1 kg', 12),
    ('Tailwind', 'Milk frother', 3),
    ('Adventure Works', 'Cups and saucers', 24);

RESET ROLE;
REVOKE :"group" FROM CURRENT_USER;
